//! A stretch of output: some frames in memory, or a file with the same bytes.
//!
//! ```text
//! file  0..8   "MSOUTPUT"
//!       8..12  version, little endian
//!      12..20  bytes of standard output before it, little endian
//!      20..28  bytes of standard error before it, little endian
//!      28..    frames, as they travel; a last one that is not whole does not count
//! ```
//!
//! **Invariant:** no bytes make the reader panic or allocate beyond a segment's bound. Guarded by
//! `any_bytes_are_a_segment_or_none`.

use std::{
    io::{self, Read as _, Write as _},
    path::Path,
};

use bytes::Bytes;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use fs_err::{File, OpenOptions};
use proto::{
    codec::HEADER_LEN,
    frame::{FrameKind, MAX_FRAME_LEN},
};

use super::Counts;

/// A segment of this many bytes takes no more frames.
const SEALED_LEN: u64 = 1 << 20;

/// Nor does one of so many frames: each costs some memory, however small.
const SEALED_FRAMES: usize = 16 << 10;

/// The longest segment, as its file has it.
const MAX_LEN: u64 = SEALED_LEN + MAX_FRAME_LEN as u64 + HEADER_LEN as u64 + HEAD as u64;

const MAGIC: [u8; 8] = *b"MSOUTPUT";
const VERSION: u32 = 1;
const HEAD: usize = 28;

/// A stretch of a run's output.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    /// Its number, from 0.
    pub(super) sequence: u64,
    /// Bytes of frames before it.
    pub(super) at: u64,
    /// Bytes of frames in it.
    pub(super) len: u64,
    /// Output before it.
    pub(super) from: Counts,
    /// Output up to its end.
    pub(super) end: Counts,
    frames: Option<Vec<Bytes>>,
}

impl Segment {
    pub(super) const fn begin(sequence: u64, at: u64, from: Counts) -> Self {
        Self {
            sequence,
            at,
            len: 0,
            from,
            end: from,
            frames: Some(Vec::new()),
        }
    }

    /// Adds a whole frame to a segment in memory.
    pub(super) fn push(&mut self, frame: Bytes) {
        if let Some((kind, len)) = head(&frame) {
            *self.end.of(kind) += len as u64;
        }
        self.len += frame.len() as u64;
        if let Some(frames) = &mut self.frames {
            frames.push(frame);
        }
    }

    pub(super) fn is_sealed(&self) -> bool {
        let many = |frames: &Vec<Bytes>| frames.len() >= SEALED_FRAMES;
        self.len >= SEALED_LEN || self.frames.as_ref().is_none_or(many)
    }

    pub(super) const fn is_in_file(&self) -> bool {
        self.frames.is_none()
    }

    pub(super) fn moved_to_file(&mut self) {
        self.frames = None;
    }

    /// Returns its frames, if they are in memory.
    pub(super) fn frames(&self) -> Option<&[Bytes]> {
        self.frames.as_deref()
    }

    /// Writes it to `path`. What was there is replaced.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(HEAD + usize::try_from(self.len).unwrap_or_default());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.from.stdout.to_le_bytes());
        bytes.extend_from_slice(&self.from.stderr.to_le_bytes());
        for frame in self.frames().unwrap_or_default() {
            bytes.extend_from_slice(frame);
        }
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(path)?.write_all(&bytes)
    }

    /// Reads the segment in a file; `None` if it is none.
    pub(super) fn read(sequence: u64, path: &Path) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        File::open(path)?
            .take(MAX_LEN + 1)
            .read_to_end(&mut bytes)?;
        Ok(Self::parse(sequence, bytes.into()))
    }

    fn parse(sequence: u64, mut bytes: Bytes) -> Option<Self> {
        if bytes.len() as u64 > MAX_LEN || bytes.len() < HEAD {
            return None;
        }
        let head_bytes = bytes.split_to(HEAD);
        let number = |at: usize| -> Option<u64> {
            Some(u64::from_le_bytes(head_bytes[at..at + 8].try_into().ok()?))
        };
        if head_bytes[..8] != MAGIC || head_bytes[8..12] != VERSION.to_le_bytes() {
            return None;
        }
        let from = Counts {
            stdout: number(12)?,
            stderr: number(20)?,
        };
        let mut segment = Self::begin(sequence, 0, from);
        while let Some((_, len)) = head(&bytes) {
            if bytes.len() < HEADER_LEN + len {
                break;
            }
            segment.push(bytes.split_to(HEADER_LEN + len));
        }
        Some(segment)
    }
}

/// Returns the kind of an output frame and the length of its body, from its first bytes.
pub(super) fn head(frame: &[u8]) -> Option<(FrameKind, usize)> {
    let (number, rest) = frame.split_first()?;
    let kind = FrameKind::of_number(*number)?;
    let len = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?);
    let is_output = kind == FrameKind::Stdout || kind == FrameKind::Stderr;
    (is_output && len <= MAX_FRAME_LEN).then_some((kind, len as usize))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_segment_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..200), headed in any::<bool>()) {
            let mut all = Vec::new();
            if headed {
                all.extend_from_slice(&MAGIC);
                all.extend_from_slice(&VERSION.to_le_bytes());
                all.extend_from_slice(&[0; 16]);
            }
            all.extend(bytes);

            let _ = Segment::parse(0, all.into());
        }

        #[test]
        fn a_segment_reads_as_it_was_written_up_to_its_last_whole_frame(
            bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 1..9),
            cut in 0_usize..40,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("segment");
            let mut segment = Segment::begin(3, 0, Counts { stdout: 7, stderr: 9 });
            for body in &bodies {
                segment.push(super::super::tests::frame(FrameKind::Stdout, body));
            }
            segment.write(&path).unwrap();
            let whole = fs_err::metadata(&path).unwrap().len();
            OpenOptions::new().write(true).open(&path).unwrap().set_len(whole - cut.min(HEADER_LEN) as u64).unwrap();

            let read = Segment::read(3, &path).unwrap().unwrap();

            let frames = read.frames().unwrap();
            let expected = segment.frames().unwrap();
            prop_assert_eq!(frames, &expected[..expected.len() - usize::from(cut > 0)]);
            prop_assert_eq!(read.from, segment.from);
        }
    }
}
