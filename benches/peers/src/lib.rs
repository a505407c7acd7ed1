//! What the servers share: the command line, the answer, and the protocol, which is that of the example
//! `http_hello`.

#[path = "../../../examples/net/http.rs"]
pub mod http;
#[path = "../../src/server.rs"]
mod server;

pub use server::{ECHO_BUFFER, Options, burn, listening, options};

/// Answers a request.
pub fn hello(request: &http::Request, out: &mut Vec<u8>) {
    http::respond(request, "200 OK", "text/plain", b"Hello, World!", out);
}
