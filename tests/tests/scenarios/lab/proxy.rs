//! The proxy: what it says that it does to packets is what happens to them.

use std::{
    collections::HashSet,
    net::{SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use scenarios::{
    PATIENCE, eventually,
    proxy::{Proxy, Way, Weather},
};

/// A client, a proxy and a server that answers nothing by itself.
struct Line {
    client: UdpSocket,
    proxy: Proxy,
    server: UdpSocket,
}

impl Line {
    fn new() -> Self {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        let proxy = Proxy::start(server.local_addr().unwrap(), 7);
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.connect(proxy.address()).unwrap();
        Self {
            client,
            proxy,
            server,
        }
    }

    fn say(&self, bytes: &[u8]) {
        self.client.send(bytes).unwrap();
    }

    fn hear(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = [0; 1500];
        let (length, from) = self.server.recv_from(&mut buffer).unwrap();
        (buffer[..length].to_vec(), from)
    }

    /// Sends numbered packets and returns those that arrive before the one that ends them.
    fn numbers_heard_of(&self, count: u32, weather: Weather) -> Vec<u32> {
        self.proxy.set_weather(weather);
        thread::scope(|scope| {
            // Beside the sender, so that no socket buffer loses what the proxy should.
            let heard = scope.spawn(|| self.numbers_before_the_end());
            for number in 0..count {
                self.say(&number.to_be_bytes());
                eventually(PATIENCE, || self.proxy.packets_seen() > u64::from(number));
            }
            self.proxy.inject_from_stranger(b"the end".to_vec());
            heard.join().unwrap()
        })
    }

    fn numbers_before_the_end(&self) -> Vec<u32> {
        let mut heard = Vec::new();
        while let Ok(number) = self.hear().0.as_slice().try_into() {
            heard.push(u32::from_be_bytes(number));
        }
        heard
    }
}

#[test]
fn perfect_line_carries_both_ways() {
    let line = Line::new();

    line.say(b"question");
    let (question, from) = line.hear();
    line.server.send_to(b"answer", from).unwrap();
    let mut answer = [0; 100];
    let length = line.client.recv(&mut answer).unwrap();

    assert_eq!(question, b"question");
    assert_eq!(&answer[..length], b"answer");
}

#[test]
fn loss_takes_the_share_that_was_asked_for() {
    let line = Line::new();

    let heard = line.numbers_heard_of(
        1000,
        Weather {
            lost_per_mille: 300,
            ..Weather::default()
        },
    );

    assert!(
        (620..780).contains(&heard.len()),
        "{} of 1000 arrived",
        heard.len()
    );
    assert!(heard.is_sorted());
}

#[test]
fn doubled_packets_arrive_twice() {
    let line = Line::new();

    let heard = line.numbers_heard_of(
        50,
        Weather {
            doubled_per_mille: 1000,
            ..Weather::default()
        },
    );

    assert_eq!(heard.len(), 100);
    assert_eq!(heard.iter().collect::<HashSet<_>>().len(), 50);
}

#[test]
fn detour_changes_the_order_and_loses_nothing() {
    let line = Line::new();
    line.proxy.set_weather(Weather {
        reordered_per_mille: 500,
        detour: Duration::from_millis(20),
        ..Weather::default()
    });

    for number in 0..100_u32 {
        line.say(&number.to_be_bytes());
    }
    let heard: Vec<_> = (0..100).map(|_| line.hear().0).collect();

    assert_eq!(heard.iter().collect::<HashSet<_>>().len(), 100);
    assert!(!heard.is_sorted());
}

#[test]
fn delay_is_kept() {
    let line = Line::new();
    let delay = Duration::from_millis(50);
    line.proxy.set_weather(Weather {
        delay,
        ..Weather::default()
    });

    let said = Instant::now();
    line.say(b"slowly");
    line.hear();

    assert!(said.elapsed() >= delay, "{:?}", said.elapsed());
}

#[test]
fn cut_line_carries_nothing_until_it_is_mended() {
    let line = Line::new();

    line.proxy.cut();
    line.say(b"lost");
    eventually(PATIENCE, || line.proxy.packets_seen() == 1);
    line.proxy.mend();
    line.say(b"passed");

    assert_eq!(line.hear().0, b"passed");
}

#[test]
fn kept_packet_is_replayed_from_the_same_address() {
    let line = Line::new();
    line.say(b"do it once");
    let first = line.hear();

    let record = line.proxy.record();
    line.proxy
        .replay(record.on_way(Way::ToServer).next().unwrap());

    assert_eq!(line.hear(), first);
}

#[test]
fn stranger_and_rebound_client_come_from_other_addresses() {
    let line = Line::new();
    line.say(b"first");
    let (_, first) = line.hear();

    line.proxy.inject_from_stranger(b"strange".to_vec());
    let (said, stranger) = line.hear();
    line.proxy.rebind();
    line.proxy.replay(&line.proxy.record().packets()[0]);
    let (_, rebound) = line.hear();

    assert_eq!(said, b"strange");
    assert_eq!(HashSet::from([first, stranger, rebound]).len(), 3);
}

#[test]
fn redirected_flow_reaches_the_new_server() {
    let line = Line::new();
    let second = UdpSocket::bind("127.0.0.1:0").unwrap();
    second.set_read_timeout(Some(PATIENCE)).unwrap();
    line.say(b"to the first");
    line.hear();

    line.proxy.redirect(second.local_addr().unwrap());
    line.proxy.replay(&line.proxy.record().packets()[0]);

    let mut buffer = [0; 100];
    let length = second.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"to the first");
}

#[test]
fn canary_is_found_where_it_passed_and_nowhere_else() {
    let line = Line::new();

    line.say(b"this carries CANARY-4711 in the open");
    line.hear();

    assert!(line.proxy.record().contains(b"CANARY-4711"));
    assert!(!line.proxy.record().contains(b"CANARY-4712"));
}
