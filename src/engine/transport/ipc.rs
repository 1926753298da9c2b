//! Unix sockets, by a path or by a name without a file (Linux).
//!
//! A path is looked up more than once: when it is bound, when its owner is found dead, when it is closed. Each time it may be
//! something else by then, so what is removed is first made sure to be what was meant (device and inode).

use std::{
    fs,
    io::{self, ErrorKind::AddrInUse},
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    net::{UnixListener, UnixStream},
    time::sleep,
};

use super::super::chance::random;
use crate::endpoint::Endpoint;

/// A Unix socket that listens, and the file to remove with it.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    file: Option<File>,
}

/// The file of a socket of ours.
#[derive(Debug)]
struct File {
    path: PathBuf,
    identity: Identity,
    /// A folder that was made for it alone.
    folder: Option<PathBuf>,
}

/// Between binding and listening, a moment, a socket refuses connections as one does whose owner has died.
const BEFORE_LISTENING: Duration = Duration::from_millis(20);

/// What a path leads to, whatever it is called.
type Identity = (u64, u64);

fn identity(path: &Path) -> io::Result<Identity> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

impl Listener {
    /// Binds; a socket file that nobody listens on any more is replaced, a live one is `EADDRINUSE`.
    pub async fn bind(endpoint: &Endpoint) -> io::Result<Self> {
        match endpoint {
            Endpoint::Ipc(path) if path == "*" => {
                let folder = private_folder()?;
                let bound = Self::at(&folder.join("socket")).await;
                let mut own = bound.inspect_err(|_| drop(fs::remove_dir(&folder)))?;
                own.file.as_mut().into_iter().for_each(|file| file.folder = Some(folder.clone()));
                Ok(own)
            }
            Endpoint::Ipc(path) => Self::at(Path::new(path)).await,
            Endpoint::Abstract(name) => {
                Ok(Self { socket: UnixListener::bind(format!("\0{name}"))?, file: None })
            }
            Endpoint::Tcp { .. } | Endpoint::Inproc(_) => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    async fn at(path: &Path) -> io::Result<Self> {
        let socket = match UnixListener::bind(path) {
            Err(error) if error.kind() == AddrInUse => replace_stale(path).await?,
            bound => bound?,
        };
        // It is removed by what it is called from everywhere.
        let path = std::path::absolute(path)?;
        let file = File { identity: identity(&path)?, path, folder: None };
        Ok(Self { socket, file: Some(file) })
    }

    /// Where it really listens, if that was left to us.
    pub fn address(&self, endpoint: &Endpoint) -> String {
        match &self.file {
            Some(File { path, folder: Some(_), .. }) => format!("ipc://{}", path.display()),
            _ => endpoint.to_string(),
        }
    }

    pub async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.socket.accept().await?.0)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let Some(File { path, identity: own, folder }) = &self.file else { return };
        // Somebody may have cleaned up for us, and somebody else may listen there since.
        if identity(path).is_ok_and(|found| found == *own) {
            let _ = fs::remove_file(path);
        }
        folder.iter().for_each(|folder| drop(fs::remove_dir(folder)));
    }
}

/// The path as it is meant now: a relative one by the folder that the process is in. One that is too long by that for the system
/// stays as it is.
pub fn resolve(path: &str) -> io::Result<String> {
    if path == "*" {
        return Ok(path.into());
    }
    let absolute = std::path::absolute(path)?;
    let text = absolute.to_str().filter(|text| text.len() <= crate::endpoint::MAX_PATH);
    Ok(text.unwrap_or(path).into())
}

/// Whether something is at a path that is no socket.
pub fn is_no_socket(path: &str) -> bool {
    fs::symlink_metadata(path).is_ok_and(|file| !file.file_type().is_socket())
}

/// Whether a socket refuses connections: its owner has died, or has yet to listen.
async fn refuses(path: &Path) -> bool {
    UnixStream::connect(path).await.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Binds where a socket is whose owner died without removing it.
async fn replace_stale(path: &Path) -> io::Result<UnixListener> {
    // Only one at a time, or a second would remove what the first has just bound.
    let _lock = lock(path).await?;
    for _ in 0..2 {
        let metadata = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return UnixListener::bind(path),
            found => found?,
        };
        if !metadata.file_type().is_socket() || !refuses(path).await {
            return Err(AddrInUse.into());
        }
        sleep(BEFORE_LISTENING).await;
    }
    fs::remove_file(path)?;
    UnixListener::bind(path)
}

/// What may be held by one process at a time for a path, and is free again however that ends: a socket without a file.
#[cfg(any(target_os = "linux", target_os = "android"))]
async fn lock(path: &Path) -> io::Result<UnixListener> {
    let mut hasher = std::hash::DefaultHasher::new();
    std::hash::Hash::hash(&std::path::absolute(path)?, &mut hasher);
    let name = format!("\0zeropipe-replaces-{:016x}", std::hash::Hasher::finish(&hasher));
    for _ in 0..100 {
        match UnixListener::bind(&name) {
            Err(error) if error.kind() == AddrInUse => sleep(BEFORE_LISTENING).await,
            bound => return bound,
        }
    }
    Err(AddrInUse.into())
}

/// There is nothing of the kind.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
async fn lock(_: &Path) -> io::Result<()> {
    Ok(())
}

/// A new folder for nobody else.
fn private_folder() -> io::Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("zeropipe-{:016x}", random()));
    fs::DirBuilder::new().mode(0o700).create(&folder)?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::transport::Listener as AnyListener;

    fn fresh() -> PathBuf {
        std::env::temp_dir().join(format!("zeropipe-test-{:016x}", random()))
    }

    fn endpoint(path: &Path) -> Endpoint {
        Endpoint::Ipc(path.to_string_lossy().into_owned())
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_stale_file_is_replaced_and_a_live_one_is_in_use() {
        let path = fresh();
        let endpoint = endpoint(&path);
        drop(std::os::unix::net::UnixListener::bind(&path).expect("a fresh path"));
        let live = AnyListener::bind(&endpoint).await.expect("the stale file is replaced");
        assert_eq!(AnyListener::bind(&endpoint).await.expect_err("live").code, "EADDRINUSE");
        drop(live);
        assert!(!path.exists());
        fs::write(&path, "no socket").expect("a file");
        assert_eq!(AnyListener::bind(&endpoint).await.expect_err("a plain file").code, "EADDRINUSE");
        assert_eq!(fs::read_to_string(&path).expect("untouched"), "no socket");
        fs::remove_file(&path).expect("clean up");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_is_at_the_path_by_the_time_of_the_close_and_is_not_ours_stays() {
        let path = fresh();
        let first = AnyListener::bind(&endpoint(&path)).await.expect("a fresh path");
        fs::remove_file(&path).expect("it is there");
        let second = AnyListener::bind(&endpoint(&path)).await.expect("free again");
        drop(first);
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn of_many_that_replace_a_stale_socket_at_once_one_wins_and_keeps_it() {
        for _ in 0..10 {
            let path = fresh();
            drop(std::os::unix::net::UnixListener::bind(&path).expect("a fresh path"));
            let barrier = std::sync::Barrier::new(8);
            let race = || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.expect("a runtime");
                barrier.wait();
                let bound = runtime.block_on(Listener::at(&path)).ok();
                // Nobody lets go before all have tried.
                barrier.wait();
                let is_reached = std::os::unix::net::UnixStream::connect(&path).is_ok();
                barrier.wait();
                let _guard = runtime.enter();
                bound.map(|_| is_reached)
            };
            let results: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(race)).collect();
                threads.into_iter().filter_map(|thread| thread.join().expect("no panic")).collect()
            });
            assert_eq!(results, [true]);
        }
    }

    #[test]
    fn a_relative_path_is_meant_by_the_folder_that_the_process_is_in() {
        let own = std::env::current_dir().expect("a folder");
        assert_eq!(resolve("jobs").expect("resolved"), own.join("jobs").to_string_lossy());
        assert_eq!(resolve("/run/jobs").expect("resolved"), "/run/jobs");
        let long = "x".repeat(crate::endpoint::MAX_PATH);
        assert_eq!(resolve(&long).expect("resolved"), long);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_path_that_is_left_to_us_is_private_and_leaves_nothing_behind() {
        let listener = AnyListener::bind(&Endpoint::Ipc("*".into())).await.expect("bound");
        let address = listener.address(&Endpoint::Ipc("*".into()));
        let path = PathBuf::from(address.strip_prefix("ipc://").expect("an ipc address"));
        let folder = path.parent().expect("a folder").to_owned();
        assert_eq!(fs::metadata(&folder).expect("it is there").mode() & 0o777, 0o700);
        assert!(path.exists());
        drop(listener);
        assert!(!folder.exists());
    }
}
