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
                let mut own = Self::at(&folder.join("socket")).await?;
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
            Err(error) if error.kind() == AddrInUse => {
                remove_stale(path).await?;
                UnixListener::bind(path)?
            }
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

/// Removes a socket whose owner died without removing it.
async fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    let stale = (metadata.dev(), metadata.ino());
    if !metadata.file_type().is_socket() || !refuses(path).await {
        return Err(AddrInUse.into());
    }
    sleep(BEFORE_LISTENING).await;
    if identity(path).is_ok_and(|found| found == stale) && !refuses(path).await {
        return Err(AddrInUse.into());
    }
    // Another process may do the same, and may have bound there by now. What is moved aside is looked at once nobody else can get at it.
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{:016x}", random()));
    if fs::rename(path, &aside).is_err() {
        return Ok(());
    }
    let is_stale = identity(Path::new(&aside))? == stale;
    if !is_stale {
        fs::hard_link(&aside, path)?;
    }
    fs::remove_file(&aside)?;
    if is_stale { Ok(()) } else { Err(AddrInUse.into()) }
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

    #[tokio::test(flavor = "current_thread")]
    async fn of_many_that_replace_a_stale_socket_at_once_one_wins_and_keeps_it() {
        let path = fresh();
        drop(std::os::unix::net::UnixListener::bind(&path).expect("a fresh path"));
        let barrier = std::sync::Arc::new(std::sync::Barrier::new(8));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (path, barrier) = (path.clone(), barrier.clone());
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                    barrier.wait();
                    runtime.expect("a runtime").block_on(async {
                        let bound = Listener::at(&path).await.ok()?;
                        Some((bound.file.as_ref()?.identity, bound))
                    })
                })
            })
            .collect();
        let bound: Vec<_> =
            threads.into_iter().filter_map(|thread| thread.join().expect("no panic")).collect();
        assert_eq!(bound.len(), 1);
        assert_eq!(identity(&path).expect("it is bound"), bound[0].0);
        assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
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
