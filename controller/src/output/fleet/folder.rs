//! A folder with two files a target: `--out-dir`.
//!
//! Writing happens on a thread of its own, behind a bounded queue, so that a slow disk stops no link.
//!
//! **Invariant:** the first failure is kept and told; nothing that could not be written is reported
//! as if it were there.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
};

use bytes::Bytes;
use fs_err::File;
use proto::id::NodeName;
use tokio::sync::mpsc;

use crate::output::{SinkClosed, Stream};

/// Pieces between the runs and the disk.
const QUEUE: usize = 64;

/// Results that cannot be kept as files.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The folder cannot be made or looked into.
    #[error("make the folder for the results")]
    Make(#[source] io::Error),
    /// There is something in it.
    #[error("{} is not empty; name another folder, or --overwrite", .path.display())]
    NotEmpty {
        /// Which folder.
        path: PathBuf,
    },
    /// The operating system gives no thread.
    #[error("start the thread that writes the results")]
    Thread(#[source] io::Error),
    /// A file cannot be written.
    #[error("write the results")]
    Write(#[source] io::Error),
    /// The thread broke.
    #[error("the thread that writes the results broke")]
    Broken,
}

#[derive(Debug)]
enum Order {
    Write(NodeName, Stream, Bytes),
    /// Both files are complete; they exist even if nothing was written.
    Close(NodeName),
    Lists([Vec<NodeName>; 2]),
}

/// The folder, and the thread that writes it.
#[derive(Debug)]
pub struct Folder {
    queue: mpsc::Sender<Order>,
    writer: JoinHandle<Result<(), FolderError>>,
}

impl Folder {
    /// Makes the folder. One with something in it is refused unless it may be overwritten.
    ///
    /// # Errors
    /// It cannot be made, or is not empty.
    pub fn open(path: &Path, overwrite: bool) -> Result<Self, FolderError> {
        fs_err::create_dir_all(path).map_err(FolderError::Make)?;
        let mut entries = fs_err::read_dir(path).map_err(FolderError::Make)?;
        if !overwrite && entries.next().is_some() {
            let path = path.to_owned();
            return Err(FolderError::NotEmpty { path });
        }
        let (queue, orders) = mpsc::channel(QUEUE);
        let files = Files {
            folder: path.to_owned(),
            open: BTreeMap::new(),
        };
        let writer = thread::Builder::new().name("results".into());
        let writer = writer.spawn(move || files.carry_out(orders));
        let writer = writer.map_err(FolderError::Thread)?;
        Ok(Self { queue, writer })
    }

    /// Waits until something can be queued.
    ///
    /// # Errors
    /// Nothing can be written any more; [`Self::finish`] says why.
    ///
    /// # Cancel safety
    /// Nothing is lost when this is dropped.
    pub async fn ready(&self) -> Result<Shelf<'_>, SinkClosed> {
        let place = self.queue.reserve().await;
        place.map(Shelf).map_err(|_| SinkClosed)
    }

    /// Writes who succeeded and who did not, and waits until everything is written. Blocks.
    ///
    /// # Errors
    /// Something was not.
    pub fn finish(self, lists: [Vec<NodeName>; 2]) -> Result<(), FolderError> {
        // A writer that has given up says why below.
        drop(self.queue.blocking_send(Order::Lists(lists)));
        drop(self.queue);
        self.writer.join().unwrap_or(Err(FolderError::Broken))
    }
}

/// A place in the queue.
#[derive(Debug)]
pub struct Shelf<'a>(mpsc::Permit<'a, Order>);

impl Shelf<'_> {
    /// Adds output.
    pub fn write(self, target: NodeName, stream: Stream, piece: Bytes) {
        self.0.send(Order::Write(target, stream, piece));
    }

    /// Completes the files of a target.
    pub fn close(self, target: NodeName) {
        self.0.send(Order::Close(target));
    }
}

struct Files {
    folder: PathBuf,
    open: BTreeMap<NodeName, [File; 2]>,
}

impl Files {
    fn carry_out(mut self, mut orders: mpsc::Receiver<Order>) -> Result<(), FolderError> {
        while let Some(order) = orders.blocking_recv() {
            if let Err(error) = self.one(order) {
                // Nobody can add anything from now on.
                orders.close();
                while let Some(order) = orders.blocking_recv() {
                    // The lists are worth a try: they may fit where the output did not.
                    if let Order::Lists(lists) = order {
                        drop(self.lists(lists));
                    }
                }
                return Err(FolderError::Write(error));
            }
        }
        Ok(())
    }

    fn one(&mut self, order: Order) -> io::Result<()> {
        match order {
            Order::Write(target, stream, piece) => {
                let [stdout, stderr] = self.files(&target)?;
                match stream {
                    Stream::Stdout => stdout.write_all(&piece),
                    Stream::Stderr => stderr.write_all(&piece),
                }
            }
            Order::Close(target) => {
                let _ = self.files(&target)?;
                self.open.remove(&target);
                Ok(())
            }
            Order::Lists(lists) => self.lists(lists),
        }
    }

    fn files(&mut self, target: &NodeName) -> io::Result<&mut [File; 2]> {
        use std::collections::btree_map::Entry;
        match self.open.entry(target.clone()) {
            Entry::Occupied(files) => Ok(files.into_mut()),
            Entry::Vacant(place) => {
                let create = |stream| File::create(self.folder.join(format!("{target}.{stream}")));
                Ok(place.insert([create("stdout")?, create("stderr")?]))
            }
        }
    }

    fn lists(&self, lists: [Vec<NodeName>; 2]) -> io::Result<()> {
        for (names, file) in lists.iter().zip(["hosts.succeeded", "hosts.failed"]) {
            let lines: String = names.iter().map(|name| format!("{name}\n")).collect();
            fs_err::write(self.folder.join(file), lines)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_stream_of_each_target_is_a_file() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("new/results");
        let folder = Folder::open(&path, false).unwrap();
        let [web, db]: [NodeName; 2] = ["web", "db"].map(|name| name.parse().unwrap());

        let piece = Bytes::from_static(b"\xffx");
        let shelf = folder.ready().await.unwrap();
        shelf.write(web.clone(), Stream::Stdout, piece);
        for name in [&web, &db] {
            folder.ready().await.unwrap().close(name.clone());
        }
        let finished = tokio::task::spawn_blocking(|| folder.finish([vec![web], vec![db]]));
        finished.await.unwrap().unwrap();

        let read = |name: &str| fs_err::read(path.join(name)).unwrap();
        assert_eq!(read("web.stdout"), b"\xffx");
        assert_eq!((read("web.stderr"), read("db.stdout")), (vec![], vec![]));
        assert_eq!(
            (read("hosts.succeeded"), read("hosts.failed")),
            (b"web\n".to_vec(), b"db\n".to_vec())
        );
        assert!(matches!(
            Folder::open(&path, false),
            Err(FolderError::NotEmpty { .. })
        ));
        assert!(Folder::open(&path, true).is_ok());
    }
}
