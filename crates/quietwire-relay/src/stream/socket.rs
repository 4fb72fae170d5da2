//! The UDP socket of a stream.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;

use mio::net::UdpSocket;

use crate::api::error::ApiError;

/// Linux and macOS: too many open files in this process, and in the system. `ErrorKind` has no
/// variants for them.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

/// Binds the socket of a stream. Returns it with its address.
pub(super) fn bind(listen: Option<SocketAddr>) -> Result<(UdpSocket, SocketAddr), ApiError> {
    let listen = listen.unwrap_or(([127, 0, 0, 1], 0).into());
    let socket =
        UdpSocket::bind(listen).map_err(|error| match (error.kind(), error.raw_os_error()) {
            (ErrorKind::AddrInUse, _) => ApiError::Conflict(format!("listen: {listen} is in use")),
            (_, Some(EMFILE | ENFILE)) => ApiError::Unavailable(format!(
                "the limit of open files is reached: {error}; see ulimit -n"
            )),
            _ => ApiError::Invalid(format!("listen: cannot receive on {listen}: {error}")),
        })?;
    let listen = socket.local_addr().unwrap_or(listen);
    report_unreachable_targets(&socket, listen);
    Ok((socket, listen))
}

/// Whether an error of the socket may be a report about an earlier datagram.
pub(super) fn is_report(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable
    )
}

/// What the network reports about a datagram that was sent earlier.
pub(super) struct Report {
    pub target: Option<SocketAddr>,
    pub reason: &'static str,
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io::IoSliceMut;
    use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
    use std::os::fd::AsRawFd;

    use mio::net::UdpSocket;
    use nix::errno::Errno;
    use nix::libc;
    use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6RecvErr};
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt};

    use super::Report;

    /// Without this option Linux does not report ICMP errors of sockets that are not connected.
    pub fn report_unreachable_targets(socket: &UdpSocket, listen: SocketAddr) {
        // Without it only the report is missing.
        if listen.is_ipv6() {
            let _ = setsockopt(socket, Ipv6RecvErr, &true);
        }
        // An IPv6 socket sends to IPv4-mapped addresses too.
        let _ = setsockopt(socket, Ipv4RecvErr, &true);
    }

    /// Takes the next report from the socket's queue.
    pub fn take_report(socket: &UdpSocket) -> Option<Report> {
        let mut datagram = [0; 1];
        let mut control = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
        let mut slices = [IoSliceMut::new(&mut datagram)];
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let message =
            recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags);
        let message = message.ok()?;
        let target = message.address.and_then(|address| {
            let ipv4 = address
                .as_sockaddr_in()
                .map(|a| SocketAddrV4::from(*a).into());
            ipv4.or_else(|| {
                address
                    .as_sockaddr_in6()
                    .map(|a| SocketAddrV6::from(*a).into())
            })
        });
        let mut reason = "the network reports an error";
        for part in message.cmsgs().ok()? {
            if let ControlMessageOwned::Ipv4RecvErr(error, _)
            | ControlMessageOwned::Ipv6RecvErr(error, _) = part
            {
                reason = match Errno::from_raw(error.ee_errno as i32) {
                    Errno::ECONNREFUSED => "the port is unreachable: no program receives there",
                    Errno::EHOSTUNREACH => "the host is unreachable",
                    Errno::ENETUNREACH => "the network is unreachable",
                    Errno::EMSGSIZE => "the packet is too large for the network",
                    _ => reason,
                };
            }
        }
        Some(Report { target, reason })
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use std::net::SocketAddr;

    use mio::net::UdpSocket;

    use super::Report;

    pub fn report_unreachable_targets(_: &UdpSocket, _: SocketAddr) {}

    pub fn take_report(_: &UdpSocket) -> Option<Report> {
        None
    }
}

#[cfg(target_os = "linux")]
use linux::report_unreachable_targets;
#[cfg(target_os = "linux")]
pub(super) use linux::take_report;
#[cfg(not(target_os = "linux"))]
use other::report_unreachable_targets;
#[cfg(not(target_os = "linux"))]
pub(super) use other::take_report;
