//! A client of a dozen lines for one request to our own server, which closes after it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an instance may take to answer.
const WAIT: Duration = Duration::from_secs(20);

/// The status and the body; or why there is none.
pub(super) fn get(address: SocketAddr, path: &str) -> Result<(u16, Vec<u8>), String> {
    let failed = |e: std::io::Error| e.to_string();
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).map_err(failed)?;
    stream.set_read_timeout(Some(WAIT)).map_err(failed)?;
    stream.set_write_timeout(Some(WAIT)).map_err(failed)?;
    // HTTP/1.0: the body then comes in one piece.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n").map_err(failed)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(failed)?;
    let split = answer.windows(4).position(|w| w == b"\r\n\r\n").ok_or("no answer of HTTP")?;
    let head = String::from_utf8_lossy(&answer[..split]);
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or("no answer of HTTP")?;
    Ok((code, answer[split + 4..].to_vec()))
}

/// As a part of a path.
pub(super) fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
    text.bytes().map(|b| if plain(b) { (b as char).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_path_cannot_hold_is_encoded() {
        assert_eq!(encoded("c-42_~."), "c-42_~.");
        assert_eq!(encoded("a b/ä?"), "a%20b%2F%C3%A4%3F");
    }
}
