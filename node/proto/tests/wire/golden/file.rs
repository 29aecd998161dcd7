//! Files: every action, every kind, every fault and every refusal.

use proto::{
    file::{
        Attributes, Entry, FileAction, FileFault, FileKind, FileRefusal, FileTime, NameFault, Sum,
    },
    frame::Frame,
    id::TransferId,
    text::Text,
};

use super::{Sample, each};
use crate::sample;

pub(super) fn sum() -> Sum {
    Sum {
        bytes: 5,
        sha256: [0x33; 32],
    }
}

pub(super) fn requests() -> Vec<Sample<Frame>> {
    let at = || sample::place("/srv", &["a"]);
    let transfer = TransferId::from_bytes([0x44; 16]);
    let modified = Some(FileTime {
        seconds: -1,
        nanoseconds: 7,
    });
    let actions = each!(FileAction {
        FileAction::Look { .. } => [(FileAction::Look { at: sample::place("", &[]) }, "14 00000036 2222222222222222222222222222222222222222222222222222222222 \
                 2222220373727680d0eab6b733e0d40305616c696365000000")];
        FileAction::List { .. } => [(FileAction::List { at: at() }, "14 0000003c 2222222222222222222222222222222222222222222222222222222222 \
                 2222220373727680d0eab6b733e0d40305616c69636501042f737276010161")];
        FileAction::Get { .. } => [(FileAction::Get { at: at(), held: sum() }, "14 0000005d 2222222222222222222222222222222222222222222222222222222222 \
                 2222220373727680d0eab6b733e0d40305616c69636502042f7372760101610533 \
                 33333333333333333333333333333333333333333333333333333333333333")];
        FileAction::Put { .. } => [
            (FileAction::Put { at: at(), transfer, mode: 0o644, modified }, "14 00000051 2222222222222222222222222222222222222222222222222222222222 \
                 2222220373727680d0eab6b733e0d40305616c69636503042f7372760101614444 \
                 4444444444444444444444444444a403010107"),
            (FileAction::Put { at: at(), transfer, mode: 0o777, modified: None }, "14 0000004f 2222222222222222222222222222222222222222222222222222222222 \
                 2222220373727680d0eab6b733e0d40305616c69636503042f7372760101614444 \
                 4444444444444444444444444444ff0300"),
        ];
        FileAction::MakeFolder { .. } => [
            (FileAction::MakeFolder { at: at(), mode: 0o755 }, "14 0000003e 2222222222222222222222222222222222222222222222222222222222 \
                 2222220373727680d0eab6b733e0d40305616c69636504042f737276010161ed03"),
        ];
        FileAction::Settle { .. } => [
            (FileAction::Settle { at: at(), mode: 0o755, modified: None }, "14 0000003f 2222222222222222222222222222222222222222222222222222222222 \
                 2222220373727680d0eab6b733e0d40305616c69636505042f737276010161ed03 \
                 00"),
        ];
        FileAction::MakeLink { .. } => [
            (FileAction::MakeLink { at: at(), target: sample::path("../x") }, "14 00000041 2222222222222222222222222222222222222222222222222222222222 \
                 2222220373727680d0eab6b733e0d40305616c69636506042f737276010161042e \
                 2e2f78"),
        ];
    });
    let frame = |(action, hex)| (Frame::File(Box::new(sample::file_request(action))), hex);
    actions.into_iter().map(frame).collect()
}

fn attributes(kind: FileKind) -> Attributes {
    Attributes {
        kind,
        size: 300,
        mode: 0o640,
        modified: FileTime {
            seconds: 1,
            nanoseconds: 2,
        },
    }
}

pub(super) fn found() -> Vec<Sample<Frame>> {
    let kinds = each!(FileKind {
        FileKind::File => [(FileKind::File, "15 00000007 00ac02a0030202")];
        FileKind::Folder => [(FileKind::Folder, "15 00000007 01ac02a0030202")];
        FileKind::Link => [(FileKind::Link, "15 00000007 02ac02a0030202")];
        FileKind::Fifo => [(FileKind::Fifo, "15 00000007 03ac02a0030202")];
        FileKind::Socket => [(FileKind::Socket, "15 00000007 04ac02a0030202")];
        FileKind::Device => [(FileKind::Device, "15 00000007 05ac02a0030202")];
        FileKind::Other => [(FileKind::Other, "15 00000007 06ac02a0030202")];
    });
    let frame = |(kind, hex)| (Frame::FileFound(attributes(kind)), hex);
    kinds.into_iter().map(frame).collect()
}

pub(super) fn entries() -> Vec<Sample<Frame>> {
    let entry = |name: &[u8], kind, target, fault| {
        Frame::FileEntry(Box::new(Entry {
            depth: 1,
            name: name.to_vec().try_into().unwrap(),
            attributes: attributes(kind),
            target,
            fault,
        }))
    };
    let link = Some(sample::path("/etc"));
    vec![
        (
            entry(b"\xff\x1b", FileKind::File, None, None),
            "1a 0000000d 0102ff1b00ac02a00302020000",
        ),
        (
            entry(b"l", FileKind::Link, link, None),
            "1a 00000011 01016c02ac02a003020201042f65746300",
        ),
        (
            entry(b"d", FileKind::Folder, None, Some(FileFault::Denied)),
            "1a 0000000d 01016401ac02a0030202000106",
        ),
    ]
}

pub(super) fn refusals() -> Vec<Sample<Frame>> {
    let path = || Text::cut("/srv/a");
    let no_file = FileRefusal::File {
        path: path(),
        fault: FileFault::NotFound,
    };
    let mut refusals = each!(FileRefusal {
        FileRefusal::Audience { .. } => [(FileRefusal::Audience { agent: Text::cut("srv") }, "1c 00000005 0003737276")];
        FileRefusal::TooOld { .. } => [
            (FileRefusal::TooOld { age_ms: 300, valid_for_ms: 200 }, "1c 00000005 01ac02c801"),
        ];
        FileRefusal::FromTheFuture { .. } => [(FileRefusal::FromTheFuture { ahead_ms: 300 }, "1c 00000003 02ac02")];
        FileRefusal::Busy { .. } => [(FileRefusal::Busy { limit: 32 }, "1c 00000002 0320")];
        FileRefusal::Superseded => [(FileRefusal::Superseded, "1c 00000001 04")];
        FileRefusal::File { .. } => [(no_file.clone(), "1c 00000009 05062f7372762f6100")];
        FileRefusal::Broken => [(FileRefusal::Broken, "1c 00000001 06")];
    });
    let of_file = |(fault, hex)| {
        (
            FileRefusal::File {
                path: path(),
                fault,
            },
            hex,
        )
    };
    refusals.extend(faults().into_iter().map(of_file));
    let frame = |(refusal, hex)| (Frame::FileRefused(Box::new(refusal)), hex);
    refusals.into_iter().map(frame).collect()
}

fn faults() -> Vec<Sample<FileFault>> {
    let why = || Text::cut("no");
    let mut faults = each!(FileFault {
        FileFault::NotFound => [(FileFault::NotFound, "1c 00000009 05062f7372762f6100")];
        FileFault::NoFolder => [(FileFault::NoFolder, "1c 00000009 05062f7372762f6101")];
        FileFault::NotAFolder => [(FileFault::NotAFolder, "1c 00000009 05062f7372762f6102")];
        FileFault::IsAFolder => [(FileFault::IsAFolder, "1c 00000009 05062f7372762f6103")];
        FileFault::LinkOnTheWay => [(FileFault::LinkOnTheWay, "1c 00000009 05062f7372762f6104")];
        FileFault::NotAFile(_) => [(FileFault::NotAFile(FileKind::Fifo), "1c 0000000a 05062f7372762f610503")];
        FileFault::Denied => [(FileFault::Denied, "1c 00000009 05062f7372762f6106")];
        FileFault::ReadOnly => [(FileFault::ReadOnly, "1c 00000009 05062f7372762f6107")];
        FileFault::NoSpace { .. } => [(FileFault::NoSpace { why: why() }, "1c 0000000c 05062f7372762f6108026e6f")];
        FileFault::Changed => [(FileFault::Changed, "1c 00000009 05062f7372762f6109")];
        FileFault::Damaged => [(FileFault::Damaged, "1c 00000009 05062f7372762f610a")];
        FileFault::Name(_) => [(FileFault::Name(NameFault::NoName), "1c 0000000a 05062f7372762f610b00")];
        FileFault::Taken(_) => [(FileFault::Taken(FileKind::Folder), "1c 0000000a 05062f7372762f610c01")];
        FileFault::TooDeep => [(FileFault::TooDeep, "1c 00000009 05062f7372762f610d")];
        FileFault::TooMany => [(FileFault::TooMany, "1c 00000009 05062f7372762f610e")];
        FileFault::Other { .. } => [(FileFault::Other { doing: Text::cut("open"), why: why() }, "1c 00000011 05062f7372762f610f046f70656e026e6f")];
    });
    let names = each!(NameFault {
        NameFault::NoName => [(NameFault::NoName, "1c 0000000a 05062f7372762f610b00")];
        NameFault::TooLong => [(NameFault::TooLong, "1c 0000000a 05062f7372762f610b01")];
        NameFault::Character { .. } => [(NameFault::Character { character: ':' }, "1c 0000000c 05062f7372762f610b02013a")];
        NameFault::End => [(NameFault::End, "1c 0000000a 05062f7372762f610b03")];
        NameFault::Device => [(NameFault::Device, "1c 0000000a 05062f7372762f610b04")];
        NameFault::NotUnicode => [(NameFault::NotUnicode, "1c 0000000a 05062f7372762f610b05")];
    });
    faults.extend(
        names
            .into_iter()
            .map(|(fault, hex)| (FileFault::Name(fault), hex)),
    );
    faults
}
