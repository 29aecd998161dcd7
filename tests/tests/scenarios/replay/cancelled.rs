//! Cancels of runs that never were, that are over, and that others wait for.

use super::*;

#[test]
fn cancel_of_an_unknown_run_gives_its_id_up_for_ever_and_the_link_lives() {
    let mut stage = Stage::new();
    let peer = stage.peer();
    let late = stage.request();

    assert_eq!(refusal(&cancel(&peer, late.id)), Refusal::GivenUp);
    assert_eq!(refusal(&cancel(&peer, late.id)), Refusal::GivenUp);

    assert_eq!(refusal(&peer.run(&late)), Refusal::GivenUp);
    stage.lab.agent(0).restart();
    assert_eq!(refusal(&stage.peer().run(&late)), Refusal::GivenUp);
    stage.assert_alive_with(0);
}

#[test]
fn cancel_of_a_run_that_has_ended_tells_how_it_ended() {
    let mut stage = Stage::new();
    let peer = stage.peer();
    let ended = stage.request();
    let _ = peer.run(&ended);

    let answer = cancel(&peer, ended.id);

    let [Frame::Ended(told)] = answer.as_slice() else {
        panic!("no end: {answer:?}")
    };
    assert_eq!(exit(told), Exit::Code(3));
    stage.assert_alive_with(1);
}

fn cancel(peer: &Peer, run: RunId) -> Vec<Frame> {
    let mut wire = peer.ask(&Frame::Cancel(Cancel { run, grace_ms: 0 }));
    wire.rest().unwrap()
}

#[test]
fn cancel_from_another_link_is_acknowledged_to_all_who_ask() {
    let mut stage = Stage::new();
    let request = stage.request_for("sleep 1000");
    let mark = Mark::of(request.id);
    let (here, there) = (stage.peer(), stage.peer());
    let mut wire = here.ask(&Frame::Run(Box::new(request)));
    assert!(matches!(wire.next().unwrap(), Some(Frame::Started(_))));

    let cancel = Frame::Cancel(Cancel {
        run: mark.id().parse().unwrap(),
        grace_ms: 100,
    });
    let mut asked = [here.ask(&cancel), there.ask(&cancel)];
    let answers = asked.each_mut().map(|asked| asked.rest().unwrap().pop());

    mark.assert_nothing_left("a cancelled run");
    for answer in answers {
        match answer {
            Some(Frame::Ended(ended)) => {
                assert_eq!((ended.result, ended.tree), (Result::Cancelled, Tree::Gone));
            }
            other => panic!("{other:?}"),
        }
    }
    let Some(Frame::Ended(ended)) = wire.rest().unwrap().pop() else {
        panic!("no end")
    };
    assert_eq!(ended.result, Result::Cancelled);
}
