//! How many packets a socket takes at once, from what is sent on it.
//!
//! quinn gives each connection a buffer for as many packets as its socket takes at once, at the first
//! packet, and keeps it: 12 KB, a third of all that an idle link weighs. A handshake needs two. So a
//! socket begins with few, and takes more as soon as somebody fills them, who has much to send.

use std::{
    io::{self, IoSliceMut},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{RecvMeta, Transmit},
};

/// How many packets are sent at once until that is too few: more than any flight of a handshake.
const FEW: usize = 4;

/// A socket that takes few packets at once until somebody has more.
#[derive(Debug)]
pub(super) struct GrowingBatches {
    inner: Arc<dyn AsyncUdpSocket>,
    segments: AtomicUsize,
}

impl GrowingBatches {
    pub(super) fn new(inner: Arc<dyn AsyncUdpSocket>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            segments: AtomicUsize::new(FEW),
        })
    }
}

impl AsyncUdpSocket for GrowingBatches {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let segments = self.segments.load(Ordering::Relaxed);
        if let Some(size) = transmit.segment_size
            && transmit.contents.len() >= size * segments
        {
            self.segments.store(segments * 2, Ordering::Relaxed);
        }
        self.inner.try_send(transmit)
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.inner.poll_recv(context, buffers, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        let most = self.inner.max_transmit_segments();
        most.min(self.segments.load(Ordering::Relaxed))
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Sink;

    impl AsyncUdpSocket for Sink {
        fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
            unreachable!("nobody waits")
        }

        fn try_send(&self, _transmit: &Transmit<'_>) -> io::Result<()> {
            Ok(())
        }

        fn poll_recv(
            &self,
            _context: &mut Context<'_>,
            _buffers: &mut [IoSliceMut<'_>],
            _meta: &mut [RecvMeta],
        ) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            Ok(([127, 0, 0, 1], 9).into())
        }

        fn max_transmit_segments(&self) -> usize {
            10
        }
    }

    fn send(socket: &GrowingBatches, packets: usize) {
        let contents = vec![0; packets * 1200];
        let transmit = Transmit {
            destination: ([127, 0, 0, 1], 9).into(),
            ecn: None,
            contents: &contents,
            segment_size: (packets > 1).then_some(1200),
            src_ip: None,
        };
        socket.try_send(&transmit).unwrap();
    }

    #[test]
    fn batches_grow_with_what_fills_them_up_to_what_the_socket_takes() {
        let socket = GrowingBatches::new(Arc::new(Sink));

        for packets in [1, 2, 3, 1] {
            send(&socket, packets);
            assert_eq!(socket.max_transmit_segments(), 4);
        }
        send(&socket, 4);
        assert_eq!(socket.max_transmit_segments(), 8);
        send(&socket, 7);
        assert_eq!(socket.max_transmit_segments(), 8);
        for _ in 0..100 {
            send(&socket, socket.max_transmit_segments());
        }
        assert_eq!(socket.max_transmit_segments(), 10);
    }
}
