//! As much of HTTP/1.1 as a small server needs, without any I/O.
//!
//! A connection reads into [`Exchange::space`], says so to [`Exchange::received`], which answers all
//! requests that are complete by now (several may come in one read, one in several), and writes
//! [`Exchange::output`] in one go. Bodies of requests are skipped. The buffers live as long as the
//! connection.

/// A longer head of a request is refused.
pub const LONGEST_HEAD: usize = 8 << 10;

/// The head of a request.
#[derive(Debug)]
pub struct Request<'a> {
    /// `GET`, `HEAD` …
    pub method: &'a str,
    /// The path, as it was sent.
    pub target: &'a str,
    /// Whether the connection stays open afterwards.
    pub keep_alive: bool,
}

/// What has come in on a connection, and what is to go out.
#[derive(Debug)]
pub struct Exchange {
    input: Vec<u8>,
    filled: usize,
    /// So much of the body of the request before is still to come.
    body_left: usize,
    /// The answers.
    pub output: Vec<u8>,
}

impl Default for Exchange {
    fn default() -> Self {
        let (input, output) = (vec![0; LONGEST_HEAD], Vec::with_capacity(256));
        Self { input, filled: 0, body_left: 0, output }
    }
}

impl Exchange {
    /// Where to read to. Never empty.
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.input[self.filled..]
    }

    /// Says that `n` bytes have been read to `space`. Calls `answer`, which appends a response, for each
    /// complete request. Returns whether the connection goes on after `output` has been written.
    pub fn received(&mut self, n: usize, mut answer: impl FnMut(&Request, &mut Vec<u8>)) -> bool {
        // The end of a head may have begun in what was there already.
        let mut looked_at = self.filled.saturating_sub(3);
        self.filled += n;
        let mut start = 0;
        let goes_on = loop {
            let skipped = self.body_left.min(self.filled - start);
            self.body_left -= skipped;
            start += skipped;
            let rest = &self.input[start..self.filled];
            let Some(end) = end_of_head(rest, looked_at.min(rest.len())) else {
                let too_long = rest.len() == LONGEST_HEAD;
                break !too_long || refuse("431 Request Header Fields Too Large", &mut self.output);
            };
            match parse(&rest[..end]) {
                Ok((request, body)) => {
                    answer(&request, &mut self.output);
                    if !request.keep_alive {
                        break false;
                    }
                    self.body_left = body;
                }
                Err(status) => break refuse(status, &mut self.output),
            }
            start += end;
            looked_at = 0;
        };
        self.input.copy_within(start..self.filled, 0);
        self.filled -= start;
        goes_on
    }
}

/// Appends a response to `out`.
pub fn respond(request: &Request, status: &str, kind: &str, body: &[u8], out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    for part in ["HTTP/1.1 ", status, "\r\nContent-Length: "] {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(decimal(body.len(), &mut digits));
    for part in ["\r\nContent-Type: ", kind, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    if !request.keep_alive {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
    if request.method != "HEAD" {
        out.extend_from_slice(body);
    }
}

fn decimal(mut number: usize, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

/// Appends an answer to what is no request. The connection does not go on.
fn refuse(status: &str, out: &mut Vec<u8>) -> bool {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    out.extend_from_slice(head.as_bytes());
    false
}

fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    let found = bytes[from..].windows(4).position(|window| window == b"\r\n\r\n");
    found.map(|at| from + at + 4)
}

/// The request and the length of its body, or the status to refuse it with.
fn parse(head: &[u8]) -> Result<(Request<'_>, usize), &'static str> {
    const BAD: &str = "400 Bad Request";
    let head = std::str::from_utf8(head).map_err(|_| BAD)?;
    let mut lines = head.trim_end().split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (words.next().ok_or(BAD)?, words.next().ok_or(BAD)?);
    let mut keep_alive = match words.next() {
        Some("HTTP/1.1") => true,
        Some("HTTP/1.0") => false,
        _ => return Err("505 HTTP Version Not Supported"),
    };
    let mut body = 0;
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(BAD)?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            body = value.parse().map_err(|_| BAD)?;
        } else if name.eq_ignore_ascii_case("connection") {
            keep_alive = match value {
                close if close.eq_ignore_ascii_case("close") => false,
                stay if stay.eq_ignore_ascii_case("keep-alive") => true,
                _ => keep_alive,
            };
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err("501 Not Implemented");
        }
    }
    Ok((Request { method, target, keep_alive }, body))
}

#[cfg(test)]
mod tests {
    use super::{Exchange, LONGEST_HEAD, respond};

    /// Feeds `bytes` in pieces of `piece`; gives the answers, and whether the connection goes on.
    fn feed(bytes: &[u8], piece: usize) -> (String, bool) {
        let mut http = Exchange::default();
        let mut goes_on = true;
        for part in bytes.chunks(piece) {
            let mut part = part;
            while !part.is_empty() && goes_on {
                let n = part.len().min(http.space().len());
                http.space()[..n].copy_from_slice(&part[..n]);
                part = &part[n..];
                goes_on = http.received(n, |request, out| {
                    out.extend_from_slice(format!("{} ", request.target).as_bytes());
                });
            }
        }
        (String::from_utf8(http.output).unwrap(), goes_on)
    }

    #[test]
    fn requests_in_any_pieces() {
        let text =
            b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nPOST /2 HTTP/1.1\r\ncontent-LENGTH: 10\r\n\r\n\
                     0123\r\n\r\n89HEAD /3 HTTP/1.1\r\n\r\nGET /4 HTTP/1.1\r\nHo";
        for piece in 1..=text.len() {
            assert_eq!(feed(text, piece), ("/1 /2 /3 ".to_owned(), true), "pieces of {piece}");
        }
        let many = b"GET /many HTTP/1.1\r\n\r\n".repeat(2000);
        assert_eq!(feed(&many, many.len()), ("/many ".repeat(2000), true));
    }

    #[test]
    fn connections_that_end() {
        for head in ["/ HTTP/1.1\r\nConnection: Close", "/ HTTP/1.0", "/ HTTP/1.0\r\nx: y"] {
            let text = format!("GET {head}\r\n\r\nGET /next HTTP/1.1\r\n\r\n");
            assert_eq!(feed(text.as_bytes(), 1000), ("/ ".to_owned(), false), "{head}");
        }
        let stays = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
        assert_eq!(feed(stays, 1000), ("/ ".to_owned(), true));
    }

    #[test]
    fn what_is_no_request() {
        for (text, status) in [
            ("\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\nno colon\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "400"),
            ("GET / HTTP/2.0\r\n\r\n", "505"),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "501"),
            (&"x".repeat(LONGEST_HEAD), "431"),
        ] {
            let (answer, goes_on) = feed(text.as_bytes(), 1000);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{text:?}: {answer}");
            assert!(!goes_on);
        }
    }

    #[test]
    fn responses() {
        let mut http = Exchange::default();
        let text = b"GET / HTTP/1.1\r\n\r\nHEAD / HTTP/1.1\r\nConnection: close\r\n\r\n";
        http.space()[..text.len()].copy_from_slice(text);
        http.received(text.len(), |request, out| {
            respond(request, "200 OK", "text/plain", b"Hello, World!", out);
        });
        let wanted = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\nContent-Type: text/plain\r\n\r\n\
                      Hello, World!HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\
                      Content-Type: text/plain\r\nConnection: close\r\n\r\n";
        assert_eq!(String::from_utf8(http.output).unwrap(), wanted);
    }
}
