//! Holds the layers apart: `binding -> engine -> flow -> wire -> leaves`, and who may know what.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The floors, the highest first; a floor may import from itself and from those below it. Leaves may import leaves.
const FLOORS: [&[&str]; 5] =
    [&["binding"], &["engine"], &["flow"], &["wire"], &["batch", "config", "endpoint", "error"]];

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// Every file with that ending under a directory of the package, as its path in there and its text.
fn sources(directory: &str, ending: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let (mut files, mut directories) = (Vec::new(), vec![root.clone()]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory") {
            let path: PathBuf = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|own| own == ending) {
                let name =
                    path.strip_prefix(&root).expect("it is under the root").to_string_lossy().into_owned();
                files.push((name, fs::read_to_string(&path).expect("text")));
            }
        }
    }
    files
}

/// The module of `src` that a file belongs to: its directory there, or its own name.
fn module(file: &str) -> &str {
    file.split(['/', '\\', '.']).next().unwrap_or_default()
}

/// How many modules lie between the root of the crate and what is in a file of `src`.
fn depth(file: &str) -> usize {
    file.split(['/', '\\']).filter(|part| *part != "mod.rs").count()
}

/// The code without its line comments; the others are not used here.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The words of a code: what stands between characters that no name can hold.
fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|letter: char| !letter.is_alphanumeric() && letter != '_').filter(|word| !word.is_empty())
}

/// The first names of all paths that begin at the root of the crate: of `crate::{a::b, c}` that is `a` and `c`.
/// In a file so deep in the tree of modules, as many `super` in a row reach the root too.
fn imports(code: &str, depth: usize) -> Vec<String> {
    let mut found = Vec::new();
    for root in ["crate::", &"super::".repeat(depth)] {
        for (at, _) in code.match_indices(root) {
            let path = code[at + root.len()..].trim_start();
            match path.strip_prefix('{') {
                Some(list) => found.extend(first_names(list)),
                None => found.extend(words(path).next().map(str::to_owned)),
            }
        }
    }
    found
}

/// The first name of each part of a list, up to the brace that closes it.
fn first_names(list: &str) -> Vec<String> {
    let (mut depth, mut end, mut parts) = (0, list.len(), vec![0]);
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => {
                end = at;
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => parts.push(at + 1),
            _ => {}
        }
    }
    parts.iter().filter_map(|&start| words(&list[start..end]).next()).map(str::to_owned).collect()
}

#[test]
fn imports_go_down_only() {
    let files = sources("src", "rs");
    for (file, text) in &files {
        let Some(own) = floor(module(file)) else {
            assert_eq!(file, "lib.rs", "{file} is on no floor: give it one in this test");
            continue;
        };
        for import in imports(&code(text), depth(file)) {
            let is_above = floor(&import).is_some_and(|other| other < own);
            assert!(!is_above, "src/{file} imports {import}, which is above it");
        }
    }
    for module in FLOORS.concat() {
        assert!(files.iter().any(|(file, _)| self::module(file) == module), "there is no {module} any more");
    }
}

#[test]
fn only_the_binding_knows_node_and_is_unsafe_and_only_the_engine_knows_tokio() {
    for (word, owner) in
        [("napi", "binding"), ("napi_derive", "binding"), ("unsafe", "binding"), ("tokio", "engine")]
    {
        let mut owners = Vec::new();
        for (file, text) in sources("src", "rs") {
            if words(&code(&text)).any(|other| other == word) {
                owners.push(module(&file).to_owned());
            }
        }
        owners.dedup();
        assert_eq!(owners, [owner], "who says {word} in src");
    }
}

#[test]
fn the_state_machines_know_no_time_chance_threads_or_shared_state() {
    let forbidden =
        ["tokio", "Mutex", "Rc", "RefCell", "Cell", "Atomic", "atomic", "thread", "random", "SystemTime"];
    let mut files = 0;
    for (file, text) in sources("src/flow", "rs") {
        // Tests may read the clock to have a beginning.
        let code = code(text.split("#[cfg(test)]").next().unwrap_or_default());
        for word in forbidden {
            assert!(!words(&code).any(|other| other == word), "src/flow/{file} says {word}");
        }
        assert!(!code.contains("Instant::now"), "src/flow/{file} reads the clock");
        files += 1;
    }
    assert!(files > 5);
}

#[test]
fn javascript_reaches_rust_through_the_files_that_load_and_choose_the_engine_only() {
    let loaders = ["runtime.js", "engine.js"];
    let mut users = 0;
    for (file, text) in sources("lib", "js").into_iter().filter(|(file, _)| !loaders.contains(&&**file)) {
        for (at, _) in text.match_indices("require(").chain(text.match_indices("import(")) {
            let target = text[at..].split(['\'', '"']).nth(1).unwrap_or_default();
            let is_beside = target.strip_prefix("./").is_some_and(|name| !name.contains('/'));
            assert!(target.starts_with("node:") || is_beside, "lib/{file} requires {target:?}");
            users += usize::from(target == "./engine.js");
        }
        assert!(!text.contains("dlopen"), "lib/{file} loads a binary");
    }
    assert!(users > 0);
}

#[test]
fn the_scanner_sees_what_it_should() {
    let text = "
        //! About [`crate::comments`].
        use std::fmt;
        use crate::{
            batch::{Batch, place::{Deep, Deeper}}, // crate::remark
            wire::decoder,
            error,
        };
        use crate::config::Config;
        fn call() { crate::engine::start(super::binding::wake); }
    ";
    assert_eq!(imports(&code(text), 1), ["batch", "wire", "error", "config", "engine", "binding"]);
    assert_eq!(imports("super::flow; super::super::engine", 2), ["engine"]);
    assert_eq!([depth("batch.rs"), depth("wire/mod.rs"), depth("wire/frame.rs")], [1, 1, 2]);
    assert_eq!((module("wire/frame.rs"), module("batch.rs"), floor("frame")), ("wire", "batch", None));
}
