//! How runs are started and held together on this machine: tried out once, then used for each.

use std::{fmt, io, os::fd::RawFd, path::Path};

use proto::id::RunId;

#[cfg(target_os = "linux")]
use super::cgroup::Groups;
use super::{
    descendants::Marks,
    image::Image,
    start::{self, Failed, Group, Method, Started},
    tree::Tree,
};
use crate::agent::process::{Containment, Step};

/// The run of the trials: no request draws this id but by a chance of 1 in 2^128.
const NOBODY: RunId = RunId::from_bytes([0; 16]);

/// What the machine offers.
pub(super) struct Means {
    method: Method,
    #[cfg(target_os = "linux")]
    groups: Option<Groups>,
}

impl Means {
    /// Tries the best means first: a process born in a control group, one that moves into it, one
    /// without.
    pub(super) fn find(home: &Path, strongest: Containment) -> Self {
        let found = match strongest {
            Containment::Cgroup => Self::with_groups(home),
            Containment::Group => None,
        };
        found.unwrap_or_else(|| {
            let mut means = Self::without_groups();
            means.method = means.first_that_works().unwrap_or(Method::Fork);
            means
        })
    }

    #[cfg(target_os = "linux")]
    fn with_groups(home: &Path) -> Option<Self> {
        let groups = match Groups::open(&id_of(home)) {
            Ok((groups, 0)) => groups,
            Ok((groups, left)) => {
                tracing::warn!(processes = left, "killed what an earlier agent had left");
                groups
            }
            Err(error) => {
                tracing::info!(%error, "no control group for runs");
                return None;
            }
        };
        let mut means = Self {
            method: Method::Fork,
            groups: Some(groups),
        };
        let method = means.first_that_works();
        if method.is_none() {
            tracing::info!("processes may not enter a control group");
        }
        means.method = method?;
        Some(means)
    }

    #[cfg(not(target_os = "linux"))]
    fn with_groups(_home: &Path) -> Option<Self> {
        None
    }

    fn without_groups() -> Self {
        Self {
            method: Method::Fork,
            #[cfg(target_os = "linux")]
            groups: None,
        }
    }

    /// Replaces the method, which must work here too.
    #[cfg(test)]
    pub(super) fn forced(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// Where the groups of the runs are.
    #[cfg(test)]
    pub(super) fn group_directory(&self) -> Option<std::path::PathBuf> {
        self.groups.as_ref().map(|groups| groups.own().to_owned())
    }

    /// Starts what is no program with each method, and takes the first that gets as far as executing
    /// it.
    fn first_that_works(&self) -> Option<Method> {
        let image = Image::impossible();
        let null = fs_err::File::open("/dev/null").ok()?;
        let stdio = [std::os::fd::AsRawFd::as_raw_fd(&null); 3];
        Method::ALL.iter().copied().find(|method| {
            let Ok(tree) = self.empty_tree(NOBODY) else {
                return false;
            };
            let tried = start::start(*method, &image, stdio, self.group(&tree));
            self.give_back(tree);
            matches!(
                tried,
                Err(Failed {
                    step: Step::Execute,
                    ..
                })
            )
        })
    }

    pub(super) fn containment(&self) -> Containment {
        #[cfg(target_os = "linux")]
        if self.groups.is_some() {
            return Containment::Cgroup;
        }
        Containment::Group
    }

    /// Prepares the place of a new tree. Takes over the image's limit of memory if the tree as a whole
    /// can have it.
    #[cfg(target_os = "linux")]
    pub(super) fn tree(&self, image: &mut Image, run: RunId) -> io::Result<Tree> {
        if let (Some(groups), Some(memory)) = (&self.groups, image.memory)
            && let Some(cgroup) = groups.take_limited(memory)?
        {
            image.memory = None;
            return Ok(Tree {
                cgroup: Some(cgroup),
                marks: Marks::new(run),
            });
        }
        self.empty_tree(run)
    }

    /// Prepares the place of a new tree.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn tree(&self, _image: &mut Image, run: RunId) -> io::Result<Tree> {
        self.empty_tree(run)
    }

    fn empty_tree(&self, run: RunId) -> io::Result<Tree> {
        Ok(Tree {
            #[cfg(target_os = "linux")]
            cgroup: self.groups.as_ref().map(Groups::take).transpose()?,
            marks: Marks::new(run),
        })
    }

    pub(super) fn start(
        &self,
        image: &Image,
        stdio: [RawFd; 3],
        tree: &Tree,
    ) -> Result<Started, Failed> {
        start::start(self.method, image, stdio, self.group(tree))
    }

    #[cfg(target_os = "linux")]
    #[expect(
        clippy::unused_self,
        reason = "there is nothing to ask on other systems"
    )]
    fn group(&self, tree: &Tree) -> Option<Group> {
        tree.cgroup.as_ref().map(super::cgroup::Cgroup::group)
    }

    #[cfg(not(target_os = "linux"))]
    fn group(&self, _tree: &Tree) -> Option<Group> {
        None
    }

    /// Lets what is alive of `tree` live on, outside the groups that are killed at the next start.
    pub(super) fn release(&self, tree: Tree) {
        #[cfg(target_os = "linux")]
        if let (Some(groups), Some(cgroup)) = (&self.groups, tree.cgroup) {
            groups.release(cgroup);
        }
        #[cfg(not(target_os = "linux"))]
        drop(tree);
    }

    /// Takes back the place of a tree of which nothing is alive.
    pub(super) fn give_back(&self, tree: Tree) {
        #[cfg(target_os = "linux")]
        if let (Some(groups), Some(cgroup)) = (&self.groups, tree.cgroup) {
            groups.give_back(cgroup);
        }
        #[cfg(not(target_os = "linux"))]
        drop(tree);
    }
}

/// The same for each agent with this home, and no other's: a home has one agent at a time.
#[cfg(target_os = "linux")]
fn id_of(home: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;

    use sha2::{Digest as _, Sha256};

    let digest = Sha256::digest(home.as_os_str().as_bytes());
    digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl fmt::Debug for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} by {:?}", self.containment(), self.method)
    }
}
