//! The thread behind a proxy: it receives, lets the weather decide, and sends when due.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use tokio::{
    net::UdpSocket,
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time,
};

use super::{Packet, Shared, Way, Weather, lock};

/// The most clients of one proxy: more would be a flood, which is the server's test, not ours.
const MOST_FLOWS: usize = 256;

/// The most packets under way; more are lost, as in any queue.
const MOST_UNDER_WAY: usize = 16_384;

/// Packets from the server that wait for the engine; its sockets hold back the rest.
const INBOX: usize = 64;

/// The longest UDP packet.
const LONGEST: usize = 65_535;

/// What a test asks of the engine.
#[derive(Debug)]
pub(super) enum Order {
    Send {
        way: Way,
        client: SocketAddr,
        bytes: Vec<u8>,
    },
    SendFromStranger {
        bytes: Vec<u8>,
    },
    Rebind,
    Redirect {
        server: SocketAddr,
    },
}

/// The engine's own state; nobody else touches it.
pub(super) struct Engine {
    server: SocketAddr,
    dice: Dice,
    shared: Arc<Shared>,
    flows: HashMap<SocketAddr, Flow>,
    /// When each packet is due, and which; the number keeps the order of equals.
    timetable: BinaryHeap<Reverse<(Instant, u64)>>,
    under_way: BTreeMap<u64, Packet>,
    next: u64,
}

/// A client's way to the server.
struct Flow {
    socket: Arc<UdpSocket>,
    reader: AbortHandle,
}

/// The readers of the flows, and where they deliver.
struct Readers {
    tasks: JoinSet<()>,
    deliver: mpsc::Sender<Packet>,
}

impl Engine {
    pub(super) fn new(server: SocketAddr, seed: u64, shared: Arc<Shared>) -> Self {
        Self {
            server,
            dice: Dice(seed),
            shared,
            flows: HashMap::new(),
            timetable: BinaryHeap::new(),
            under_way: BTreeMap::new(),
            next: 0,
        }
    }

    /// Runs until the test drops its end of `orders`.
    pub(super) fn run(self, socket: std::net::UdpSocket, orders: mpsc::Receiver<Order>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let ended = runtime.and_then(|runtime| runtime.block_on(self.serve(socket, orders)));
        if let Err(error) = ended {
            panic!("the proxy failed: {error}");
        }
    }

    async fn serve(
        mut self,
        socket: std::net::UdpSocket,
        mut orders: mpsc::Receiver<Order>,
    ) -> io::Result<()> {
        let front = UdpSocket::from_std(socket)?;
        let (deliver, mut from_server) = mpsc::channel(INBOX);
        let mut readers = Readers {
            tasks: JoinSet::new(),
            deliver,
        };
        let mut buffer = vec![0; LONGEST];
        loop {
            // Before anything else, and not by a timer, whose steps are a millisecond long.
            self.send_due(&front, &mut readers).await?;
            let due = self.timetable.peek().map(|Reverse((due, _))| *due);
            tokio::select! {
                () = until(due) => {}
                order = orders.recv() => match order {
                    Some(order) => self.handle_order(order, &front, &mut readers).await?,
                    None => return Ok(()),
                },
                Some(packet) = from_server.recv() => self.handle_packet(packet),
                received = front.recv_from(&mut buffer) => match received {
                    Ok((length, client)) => {
                        self.handle_packet(Packet::now(Way::ToServer, client, &buffer[..length]));
                    }
                    Err(error) if is_passing(&error) => {}
                    Err(error) => return Err(error),
                },
                Some(_) = readers.tasks.join_next() => {}
            }
        }
    }

    /// Keeps a packet that came in, and decides when, and how often, it goes on.
    fn handle_packet(&mut self, packet: Packet) {
        lock(&self.shared.record).keep(packet.clone());
        let weather: Weather = *lock(&self.shared.weather);
        if weather.cut || self.dice.falls(weather.lost_per_mille) {
            return;
        }

        let mut due = Instant::now() + weather.delay;
        if self.dice.falls(weather.reordered_per_mille) {
            due += weather.detour;
        }
        if self.dice.falls(weather.doubled_per_mille) {
            self.schedule(due, packet.clone());
        }
        self.schedule(due, packet);
    }

    fn schedule(&mut self, due: Instant, packet: Packet) {
        if self.under_way.len() >= MOST_UNDER_WAY {
            return;
        }
        self.timetable.push(Reverse((due, self.next)));
        self.under_way.insert(self.next, packet);
        self.next += 1;
    }

    async fn send_due(&mut self, front: &UdpSocket, readers: &mut Readers) -> io::Result<()> {
        while let Some(Reverse((due, number))) = self.timetable.peek().copied()
            && due <= Instant::now()
        {
            self.timetable.pop();
            if let Some(packet) = self.under_way.remove(&number) {
                self.send(packet.way, packet.client, &packet.bytes, front, readers)
                    .await?;
            }
        }
        Ok(())
    }

    async fn handle_order(
        &mut self,
        order: Order,
        front: &UdpSocket,
        readers: &mut Readers,
    ) -> io::Result<()> {
        match order {
            Order::Send { way, client, bytes } => {
                self.send(way, client, &bytes, front, readers).await?;
            }
            Order::SendFromStranger { bytes } => {
                let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
                forgive(stranger.send_to(&bytes, self.server).await)?;
            }
            Order::Rebind => self.forget_flows(),
            Order::Redirect { server } => {
                self.server = server;
                self.forget_flows();
            }
        }
        Ok(())
    }

    async fn send(
        &mut self,
        way: Way,
        client: SocketAddr,
        bytes: &[u8],
        front: &UdpSocket,
        readers: &mut Readers,
    ) -> io::Result<()> {
        match way {
            Way::ToClient => forgive(front.send_to(bytes, client).await),
            Way::ToServer => match self.flow(client, readers).await? {
                Some(socket) => forgive(socket.send(bytes).await),
                None => Ok(()),
            },
        }
    }

    /// Returns the socket of a client's flow, opening it; nothing when there are too many.
    async fn flow(
        &mut self,
        client: SocketAddr,
        readers: &mut Readers,
    ) -> io::Result<Option<Arc<UdpSocket>>> {
        if let Some(flow) = self.flows.get(&client) {
            return Ok(Some(Arc::clone(&flow.socket)));
        }
        if self.flows.len() >= MOST_FLOWS {
            return Ok(None);
        }
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        socket.connect(self.server).await?;
        let socket = Arc::new(socket);
        let reader =
            readers
                .tasks
                .spawn(read(Arc::clone(&socket), client, readers.deliver.clone()));
        self.flows.insert(
            client,
            Flow {
                socket: Arc::clone(&socket),
                reader,
            },
        );
        Ok(Some(socket))
    }

    fn forget_flows(&mut self) {
        for (_, flow) in self.flows.drain() {
            flow.reader.abort();
        }
    }
}

/// Reads what the server answers to one flow.
async fn read(socket: Arc<UdpSocket>, client: SocketAddr, deliver: mpsc::Sender<Packet>) {
    let mut buffer = vec![0; LONGEST];
    loop {
        match socket.recv(&mut buffer).await {
            Ok(length) => {
                let packet = Packet::now(Way::ToClient, client, &buffer[..length]);
                if deliver.send(packet).await.is_err() {
                    return;
                }
            }
            Err(error) if is_passing(&error) => {}
            Err(_) => return,
        }
    }
}

/// Waits until `due`, or for ever.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// A server that is gone answers with ICMP, which shows as an error of the next call: to a proxy
/// it is a lost packet.
fn forgive(sent: io::Result<usize>) -> io::Result<()> {
    match sent {
        Ok(_) => Ok(()),
        Err(error) if is_passing(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset};
    [ConnectionRefused, ConnectionReset].contains(&error.kind())
}

impl Packet {
    fn now(way: Way, client: SocketAddr, bytes: &[u8]) -> Self {
        Self {
            way,
            client,
            at: Instant::now(),
            bytes: bytes.to_vec(),
        }
    }
}

/// A seeded generator (SplitMix64), so that a failing test fails again.
struct Dice(u64);

impl Dice {
    /// Decides an event that happens `per_mille` of a thousand times.
    fn falls(&mut self, per_mille: u16) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % 1000 < u64::from(per_mille)
    }
}
