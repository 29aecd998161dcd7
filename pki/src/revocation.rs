//! The revocation list in force, shared by all verifiers of a node and replaced while links are up.
//!
//! **Invariant:** the number of the list in force never falls. Guarded by
//! `a_list_with_an_older_number_is_refused`.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use proto::id::Fingerprint;
use time::OffsetDateTime;

use crate::{Crl, Serial, VerifyError};

/// What to do with a list whose successor is overdue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaleCrl {
    /// Refuse every peer from `nextUpdate` on.
    Refuse,
    /// Believe the list for so much longer, then refuse every peer. Danger: whoever keeps new lists
    /// from a node gains that time for a stolen key.
    AcceptFor(Duration),
}

impl StaleCrl {
    const fn grace(self) -> Duration {
        match self {
            Self::Refuse => Duration::ZERO,
            Self::AcceptFor(grace) => grace,
        }
    }
}

/// A handle on what is revoked. Clones share one list, so a new one takes effect everywhere at once.
#[derive(Debug, Clone)]
pub struct Revocation {
    stale: StaleCrl,
    in_force: Arc<RwLock<Option<Arc<Crl>>>>,
}

/// A list that would take back revocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OlderCrl {
    /// The number is lower than that of the list in force, or another list bears it already.
    #[error("revocation list {offered} does not follow number {known}, which is in force")]
    Number {
        /// The number of the refused list.
        offered: u64,
        /// The number of the list in force.
        known: u64,
    },
    /// The list in force is that of another CA.
    #[error("the revocation list is of mesh {offered}, the one in force of mesh {known}")]
    Issuer {
        /// The CA of the refused list.
        offered: Fingerprint,
        /// The CA of the list in force.
        known: Fingerprint,
    },
}

impl Revocation {
    /// Starts without a list: nothing is revoked until one is seen.
    ///
    /// A mesh begins like this, before its first revocation. A node that has seen a list keeps it
    /// and starts with [`Revocation::new`].
    #[must_use]
    pub fn none_known(stale: StaleCrl) -> Self {
        Self {
            stale,
            in_force: Arc::default(),
        }
    }

    /// Starts with `crl` in force.
    #[must_use]
    pub fn new(crl: Crl, stale: StaleCrl) -> Self {
        Self {
            stale,
            in_force: Arc::new(RwLock::new(Some(Arc::new(crl)))),
        }
    }

    /// Puts `crl` into force for every clone of this handle. The list in force itself is taken
    /// again without effect.
    ///
    /// # Errors
    ///
    /// The list is older than the one in force, or of another CA.
    pub fn replace(&self, crl: Crl) -> Result<(), OlderCrl> {
        let mut in_force = self
            .in_force
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = in_force.as_deref() {
            crl.check_follows(known)?;
        }
        *in_force = Some(Arc::new(crl));
        Ok(())
    }

    /// Returns the list in force, if one has been seen.
    #[must_use]
    pub fn in_force(&self) -> Option<Arc<Crl>> {
        self.in_force
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Returns until when the list in force is believed, if one has been seen.
    #[must_use]
    pub fn believed_until(&self) -> Option<OffsetDateTime> {
        let grace = time::Duration::try_from(self.stale.grace()).ok()?;
        self.in_force()?.next_update().checked_add(grace)
    }

    /// Decides whether the certificate `serial` of the CA `authority` may still be believed.
    ///
    /// # Errors
    ///
    /// It is revoked, or the list in force cannot tell.
    pub(crate) fn check(
        &self,
        authority: Fingerprint,
        serial: &Serial,
        now: OffsetDateTime,
    ) -> Result<(), VerifyError> {
        let Some(crl) = self.in_force() else {
            return Ok(());
        };
        if crl.issuer() != authority {
            return Err(VerifyError::ForeignCrl);
        }
        let grace = self.stale.grace();
        let next_update = crl.next_update();
        let overdue = Duration::try_from(now - next_update).unwrap_or(Duration::ZERO);
        if overdue > grace {
            return Err(VerifyError::StaleCrl { next_update, now });
        }
        if crl.revoked().contains_key(serial) {
            return Err(VerifyError::Revoked);
        }
        Ok(())
    }
}
