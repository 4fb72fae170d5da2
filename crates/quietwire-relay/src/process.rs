//! What the system counts about this process and its sockets. Empty where the system does not show it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::cpu::process_time;
use crate::error::RelayError;

/// Counts of the process.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessStats {
    pub cpu: Duration,
    pub start_unix_s: f64,
    pub resident_bytes: Option<u64>,
    pub open_files: Option<u64>,
    pub max_files: Option<u64>,
}

/// Reads the counts. `uptime`: time since the start of the process.
pub fn stats(uptime: Duration) -> ProcessStats {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    ProcessStats {
        cpu: process_time(),
        start_unix_s: now.unwrap_or_default().saturating_sub(uptime).as_secs_f64(),
        resident_bytes: resident_bytes(),
        open_files: open_files(),
        max_files: getrlimit(Resource::RLIMIT_NOFILE)
            .ok()
            .map(|(soft, _)| soft),
    }
}

/// Raises the limit of open files to what the system allows for this process. Returns the limit.
///
/// # Errors
/// [`RelayError::System`]
pub fn raise_file_limit() -> Result<u64, RelayError> {
    let error =
        |errno: nix::Error| RelayError::system("read the limit of open files")(errno.into());
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(error)?;
    // macOS refuses the value for "unlimited": then the lower limit stays.
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => Ok(hard),
        Err(_) => Ok(soft),
    }
}

/// Files that are open now.
pub fn open_files() -> Option<u64> {
    let files = std::fs::read_dir("/proc/self/fd").ok()?;
    // One of them lists the others.
    Some((files.count() as u64).saturating_sub(1))
}

fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// Datagrams that the system dropped because the buffer of a UDP socket was full, by its address.
pub fn socket_drops() -> HashMap<SocketAddr, u64> {
    let mut drops = HashMap::new();
    for path in ["/proc/self/net/udp", "/proc/self/net/udp6"] {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        drops.extend(text.lines().skip(1).filter_map(socket_line));
    }
    drops
}

/// The local address and the drops of one line.
fn socket_line(line: &str) -> Option<(SocketAddr, u64)> {
    let mut fields = line.split_whitespace();
    let (ip, port) = fields.nth(1)?.split_once(':')?;
    let drops = fields.last()?.parse().ok()?;
    // Each word of an address is in the byte order of the processor.
    let words: Vec<[u8; 4]> = (0..ip.len() / 8)
        .map(|n| u32::from_str_radix(&ip[8 * n..8 * n + 8], 16).map(u32::to_ne_bytes))
        .collect::<Result<_, _>>()
        .ok()?;
    let ip: IpAddr = match words[..] {
        [word] => Ipv4Addr::from(word).into(),
        [_, _, _, _] => {
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Ipv6Addr::from(bytes).into()
        }
        _ => return None,
    };
    Some((
        SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?),
        drops,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(all(target_os = "linux", target_endian = "little"))]
    fn drops_are_read_for_ipv4_and_ipv6() {
        let line = "  512: 0100007F:1770 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0 17";
        let address: SocketAddr = "127.0.0.1:6000".parse().unwrap();
        assert_eq!(socket_line(line), Some((address, 17)));
        let line = "  1: 00000000000000000000000001000000:1770 0:0 07 0:0 00:0 0 0 0 1 2 0 3";
        let address: SocketAddr = "[::1]:6000".parse().unwrap();
        assert_eq!(socket_line(line), Some((address, 3)));
        assert_eq!(socket_line("  sl  local_address rem_address"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_socket_buffer_is_counted() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        for _ in 0..5000 {
            socket.send_to(&[0; 1000], address).unwrap();
        }
        assert!(socket_drops()[&address] > 0);
        let stats = stats(Duration::from_secs(1));
        assert!(stats.open_files.unwrap() >= 4 && stats.max_files.unwrap() >= 4);
        assert!(stats.resident_bytes.unwrap() > 1_000_000);
    }
}
