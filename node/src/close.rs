//! The one table of close codes: why a link or a stream was ended, as its peer reads it.

use quinn::VarInt;

/// Why this node ended a link or a stream. The numbers are part of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCode {
    /// All is done.
    Done,
    /// This node is stopping.
    Stopping,
    /// The peer sent what the protocol does not allow.
    ProtocolViolation,
    /// The link was not wanted: another one to the same peer was quicker.
    Superfluous,
    /// The stream's reader or writer gave up.
    Abandoned,
}

impl CloseCode {
    const ALL: [Self; 5] = [
        Self::Done,
        Self::Stopping,
        Self::ProtocolViolation,
        Self::Superfluous,
        Self::Abandoned,
    ];

    /// Returns the number on the wire.
    #[must_use]
    pub const fn number(self) -> VarInt {
        VarInt::from_u32(match self {
            Self::Done => 0,
            Self::Stopping => 1,
            Self::ProtocolViolation => 2,
            Self::Superfluous => 3,
            Self::Abandoned => 4,
        })
    }

    /// Returns the words that travel with the number.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Stopping => "the node is stopping",
            Self::ProtocolViolation => "protocol violation",
            Self::Superfluous => "another link was quicker",
            Self::Abandoned => "given up",
        }
    }

    /// Returns the code with this number, if this version knows it.
    #[must_use]
    pub fn of_number(number: VarInt) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.number() == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_known_by_its_number() {
        for code in CloseCode::ALL {
            assert_eq!(CloseCode::of_number(code.number()), Some(code));
        }
        assert_eq!(CloseCode::of_number(VarInt::from_u32(99)), None);
    }
}
