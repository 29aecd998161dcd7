//! The bytes of every frame, held for ever.
//!
//! A frame's bytes change only together with the version in the ALPN, since nodes of other builds
//! speak them too. The tables below are exhaustive: a variant without a sample does not compile.

mod attach; // going on with a run on another stream
mod control; // frames with a small body
mod ended; // every way to end
mod file; // files
mod refused; // every reason of a refusal
mod run; // requests

use bytes::{Bytes, BytesMut};
use proto::{codec::encode, file::Start, frame::Frame};

use crate::stream::{Decoded, decode};

/// A value and its bytes in hexadecimal.
type Sample<T> = (T, &'static str);

/// Lists the samples of each variant of a type; does not compile when a variant has none.
macro_rules! each {
    ($type:ty { $($variant:pat => $samples:expr;)+ }) => {{
        let mut all = Vec::<Sample<$type>>::new();
        $({
            let samples: Vec<Sample<$type>> = Vec::from($samples);
            assert!(!samples.is_empty() && samples.iter().all(|(it, _)| matches!(it, $variant)));
            all.extend(samples);
        })+
        let _has_all_variants = |value: &$type| match value { $($variant => {})+ };
        all
    }};
}
use each;

fn samples() -> Vec<Sample<Frame>> {
    let data = |text| Bytes::from_static(text);
    each!(Frame {
        Frame::Hello(_) => control::hello();
        Frame::Run(_) => run::run();
        Frame::Stdin(_) => [(Frame::Stdin(data(b"y\n")), "02 00000002 790a")];
        Frame::StdinEnd => [(Frame::StdinEnd, "03 00000000")];
        Frame::Started(_) => control::started();
        Frame::Stdout(_) => [(Frame::Stdout(data(b"\xff\0out")), "05 00000005 ff006f7574")];
        Frame::Stderr(_) => [(Frame::Stderr(data(b"err")), "06 00000003 657272")];
        Frame::Ended(_) => ended::ended();
        Frame::Cancel(_) => control::cancel();
        Frame::Refused(_) => refused::refused();
        Frame::AskCapabilities => [(Frame::AskCapabilities, "0a 00000000")];
        Frame::Capabilities(_) => control::capabilities();
        Frame::Earlier(_) => control::earlier();
        Frame::Attach(_) => attach::attach();
        Frame::Attached(_) => attach::attached();
        Frame::Probe => [(Frame::Probe, "0f 00000000")];
        Frame::Resize(_) => control::resize();
        Frame::File(_) => file::requests();
        Frame::FileFound(_) => file::found();
        Frame::FileHeld(_) => [(Frame::FileHeld(file::sum()), "16 00000021 0533333333333333333333333333333333333333333333333333333333 \
                 33333333")];
        Frame::FileStart(_) => [(Frame::FileStart(Start { offset: 300 }), "17 00000002 ac02")];
        Frame::FileBytes(_) => [(Frame::FileBytes(data(b"\xff\0file")), "18 00000006 ff0066696c65")];
        Frame::FileEnd(_) => [(Frame::FileEnd(file::sum()), "19 00000021 0533333333333333333333333333333333333333333333333333333333 \
                 33333333")];
        Frame::FileEntry(_) => file::entries();
        Frame::FileDone => [(Frame::FileDone, "1b 00000000")];
        Frame::FileRefused(_) => file::refusals();
    })
}

#[test]
fn every_frame_keeps_its_bytes() {
    for (frame, golden) in samples() {
        let mut bytes = BytesMut::new();
        encode(&frame, &mut bytes).unwrap();

        assert_eq!(hex(&bytes), spaceless(golden), "{frame:?}");
    }
}

#[test]
fn every_frame_is_read_from_its_bytes() {
    for (frame, golden) in samples() {
        let decoded = decode(&unhex(golden), &[]);

        let (frames, end) = (vec![frame], Ok(true));
        assert_eq!(decoded, Decoded { frames, end }, "{golden}");
    }
}

/// Returns `bytes` as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn spaceless(digits: &str) -> String {
    digits.split_whitespace().collect()
}

fn unhex(digits: &str) -> Vec<u8> {
    let digits = spaceless(digits);
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}
