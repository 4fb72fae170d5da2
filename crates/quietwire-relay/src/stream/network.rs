//! Receives and sends the datagrams of a stream.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use quietwire_rtp::{Packet, RtpError};

use crate::senders::Verdict;
use crate::srtp::SrtpError;
use crate::stream::Stream;
use crate::stream::error::StreamError;
use crate::stream::socket;

/// Datagrams that a stream receives before other streams get their turn.
const MAX_DATAGRAMS_PER_TURN: usize = 64;

impl Stream {
    /// Receives the datagrams in the socket. `clock`: `now` on the clock of the RTP stream.
    pub fn receive(&mut self, now: Instant, clock: Duration, buffer: &mut [u8]) {
        for _ in 0..MAX_DATAGRAMS_PER_TURN {
            match self.socket.recv_from(buffer) {
                Ok((len, from)) => self.receive_datagram(now, clock, from, &buffer[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.is_readable = false;
                    return;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A report about a datagram that was sent earlier. Receiving continues.
                Err(error) => self.take_reports(&error, now),
            }
        }
    }

    pub(super) fn receive_datagram(
        &mut self,
        now: Instant,
        clock: Duration,
        from: SocketAddr,
        datagram: &[u8],
    ) {
        match self.senders.judge(from, self.send_to) {
            Verdict::Accept => {}
            Verdict::FromTarget => {
                self.socket_stats.from_target += 1;
                self.last_error.set(StreamError::FromTarget(from), now);
                return;
            }
            Verdict::NotAccepted => {
                self.socket_stats.not_accepted += 1;
                self.last_error.set(StreamError::NotAccepted(from), now);
                return;
            }
        }
        let mut packet = datagram;
        // RTCP has other keys. It is reported as RTCP with SRTP too.
        let is_rtcp = Packet::parse(datagram) == Err(RtpError::Rtcp);
        if let Some((_, decryptor)) = self.srtp_in.as_mut().filter(|_| !is_rtcp) {
            match decryptor.decrypt(datagram, &mut self.decrypted) {
                Ok(()) => packet = &self.decrypted,
                Err(SrtpError::Replayed) => {
                    self.socket_stats.replayed += 1;
                    return;
                }
                Err(SrtpError::Invalid(error)) => {
                    self.socket_stats.not_authentic += 1;
                    self.last_error
                        .set(StreamError::Other("srtp_in", error), now);
                    return;
                }
            }
        }
        match self.rtp.receive(clock, packet) {
            Ok(()) => {
                self.last_packet_at = Some(now);
                self.senders.accepted(from);
            }
            // Usual on every network.
            Err(RtpError::Late { .. } | RtpError::Duplicate { .. } | RtpError::Empty { .. }) => {}
            Err(error) => {
                let error = StreamError::Other("packet", error.to_string());
                self.last_error.set(error, now);
            }
        }
    }

    /// Sends the packets that are ready. `packet` is scratch memory.
    pub fn send(&mut self, packet: &mut Vec<u8>, now: Instant) {
        while self.rtp.poll_packet(packet) {
            if let Some((_, encryptor)) = &mut self.srtp_out
                && let Err(error) = encryptor.encrypt(packet)
            {
                self.socket_stats.send_failures += 1;
                self.last_error
                    .set(StreamError::Other("srtp_out", error), now);
                continue;
            }
            let mut sent = self.socket.send_to(packet, self.send_to);
            // A report about an earlier datagram takes the place of this one.
            if let Err(error) = &sent
                && socket::is_report(error)
            {
                self.take_reports(error, now);
                sent = self.socket.send_to(packet, self.send_to);
            }
            if let Err(error) = sent {
                self.socket_stats.send_failures += 1;
                let error = format!("{}: {error}", self.send_to);
                self.last_error
                    .set(StreamError::Other("send_to", error), now);
            }
        }
    }

    /// Counts what the network reports about datagrams that were sent earlier. `error`: the error
    /// that announced it.
    fn take_reports(&mut self, error: &std::io::Error, now: Instant) {
        let mut is_reported = false;
        while let Some(report) = socket::take_report(&self.socket) {
            is_reported = true;
            self.socket_stats.unreachable += 1;
            let target = report.target.unwrap_or(self.send_to);
            self.last_error
                .set(StreamError::Unreachable(target, report.reason), now);
        }
        if !is_reported && !socket::is_report(error) {
            let error = StreamError::Other("socket", error.to_string());
            self.last_error.set(error, now);
        }
    }
}
