//! Frames about files.

use proptest::{collection::vec, option, prelude::*, sample::select};
use proto::{
    file::{
        Attributes, Entry, FileAction, FileFault, FileKind, FileName, FilePath, FileRefusal,
        FileRequest, FileTime, NameFault, Place, Start, Sum,
    },
    frame::Frame,
    id::TransferId,
};

use super::{data, request, text};

pub(super) fn frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        (request(), action()).prop_map(|(run, action)| {
            Frame::File(Box::new(FileRequest {
                audience: run.audience,
                issued_at_ms: run.issued_at_ms,
                valid_for_ms: run.valid_for_ms,
                principal: run.principal,
                action,
            }))
        }),
        attributes().prop_map(Frame::FileFound),
        sum().prop_map(Frame::FileHeld),
        any::<u64>().prop_map(|offset| Frame::FileStart(Start { offset })),
        data().prop_map(Frame::FileBytes),
        sum().prop_map(Frame::FileEnd),
        entry().prop_map(|entry| Frame::FileEntry(Box::new(entry))),
        Just(Frame::FileDone),
        refusal().prop_map(|refusal| Frame::FileRefused(Box::new(refusal))),
    ]
}

fn action() -> impl Strategy<Value = FileAction> {
    let put = (place(), any::<[u8; 16]>(), any::<u16>(), option::of(time()));
    prop_oneof![
        place().prop_map(|at| FileAction::Look { at }),
        place().prop_map(|at| FileAction::List { at }),
        (place(), sum()).prop_map(|(at, held)| FileAction::Get { at, held }),
        put.prop_map(|(at, transfer, mode, modified)| FileAction::Put {
            at,
            transfer: TransferId::from_bytes(transfer),
            mode,
            modified,
        }),
        (place(), any::<u16>()).prop_map(|(at, mode)| FileAction::MakeFolder { at, mode }),
        (place(), any::<u16>(), option::of(time()))
            .prop_map(|(at, mode, modified)| { FileAction::Settle { at, mode, modified } }),
        (place(), path()).prop_map(|(at, target)| FileAction::MakeLink { at, target }),
    ]
}

fn place() -> impl Strategy<Value = Place> {
    (path(), vec(name(), 0..4)).prop_map(|(root, below)| {
        let child = |place: Place, name| place.child(name).expect("it is not deep");
        below.into_iter().fold(Place::at(root), child)
    })
}

fn path() -> impl Strategy<Value = FilePath> {
    vec(1..=255_u8, 0..40).prop_map(|path| path.try_into().expect("it holds no NUL"))
}

fn name() -> impl Strategy<Value = FileName> {
    let special = |byte: &u8| [0, b'/', b'.'].contains(byte);
    let byte = any::<u8>().prop_filter("no byte of a path", move |byte| !special(byte));
    vec(byte, 1..20).prop_map(|name| name.try_into().expect("it is one component"))
}

fn sum() -> impl Strategy<Value = Sum> {
    any::<(u64, [u8; 32])>().prop_map(|(bytes, sha256)| Sum { bytes, sha256 })
}

fn time() -> impl Strategy<Value = FileTime> {
    any::<(i64, u32)>().prop_map(|(seconds, nanoseconds)| FileTime {
        seconds,
        nanoseconds,
    })
}

fn attributes() -> impl Strategy<Value = Attributes> {
    (kind(), any::<(u64, u16)>(), time()).prop_map(|(kind, (size, mode), modified)| Attributes {
        kind,
        size,
        mode,
        modified,
    })
}

fn kind() -> impl Strategy<Value = FileKind> {
    select(&[
        FileKind::File,
        FileKind::Folder,
        FileKind::Link,
        FileKind::Fifo,
        FileKind::Device,
    ])
}

fn entry() -> impl Strategy<Value = Entry> {
    let more = (option::of(path()), option::of(fault()));
    (any::<u16>(), name(), attributes(), more).prop_map(
        |(depth, name, attributes, (target, fault))| Entry {
            depth,
            name,
            attributes,
            target,
            fault,
        },
    )
}

fn fault() -> impl Strategy<Value = FileFault> {
    prop_oneof![
        Just(FileFault::NotFound),
        kind().prop_map(FileFault::NotAFile),
        text().prop_map(|why| FileFault::NoSpace { why }),
        any::<char>().prop_map(|character| FileFault::Name(NameFault::Character { character })),
        (text(), text()).prop_map(|(doing, why)| FileFault::Other { doing, why }),
    ]
}

fn refusal() -> impl Strategy<Value = FileRefusal> {
    prop_oneof![
        text().prop_map(|agent| FileRefusal::Audience { agent }),
        any::<u32>().prop_map(|limit| FileRefusal::Busy { limit }),
        Just(FileRefusal::Superseded),
        (text(), fault()).prop_map(|(path, fault)| FileRefusal::File { path, fault }),
    ]
}
