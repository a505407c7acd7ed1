//! `rustls` with ring over std's sockets, with certificates made by `rcgen`.

use crate::harness::{bytes, each, expect_bytes, on_procs};
use goroutines::thread;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use rustls::{ProtocolVersion, StreamOwned, SupportedProtocolVersion};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

const CONNECTIONS: usize = 8;
const BULK: usize = 2 << 20;

type Client = StreamOwned<ClientConnection, TcpStream>;
type Server = StreamOwned<ServerConnection, TcpStream>;

/// A server's own certificate and key.
struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        Self { certificate: made.cert.der().clone(), key }
    }

    fn server_config(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let chain = vec![self.certificate.clone()];
        Arc::new(builder.with_single_cert(chain, self.key.clone_key()).unwrap())
    }

    /// Of a client that trusts this certificate alone.
    fn client_config(&self, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(&[version]).unwrap();
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }
}

fn connect(address: SocketAddr, config: Arc<ClientConfig>) -> Client {
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(config, name).unwrap();
    StreamOwned::new(connection, TcpStream::connect(address).unwrap())
}

fn accept(listener: &TcpListener, config: &Arc<ServerConfig>) -> Server {
    let (stream, _) = listener.accept().unwrap();
    StreamOwned::new(ServerConnection::new(Arc::clone(config)).unwrap(), stream)
}

/// Reads all that comes until the other side says that it is over, and sends back the same in reverse.
fn answer(mut stream: Server) -> usize {
    let mut all = Vec::new();
    // An end without a close_notify would be an error here.
    stream.read_to_end(&mut all).unwrap();
    all.reverse();
    stream.write_all(&all).unwrap();
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    all.len()
}

#[test]
fn rustls_carries_megabytes_both_ways() {
    let setup = Identity::new;
    on_procs("rustls_carries_megabytes_both_ways", setup, |identity, _| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let config = identity.server_config();
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        let configs = versions.map(|version| identity.client_config(version));
        thread::scope(|scope| {
            let server = scope.spawn(|| {
                let streams = (0..CONNECTIONS).map(|_| accept(&listener, &config));
                let all: Vec<_> = streams.map(|s| scope.spawn(|| answer(s))).collect();
                all.into_iter().map(|one| one.join().unwrap()).sum::<usize>()
            });
            let negotiated = each(CONNECTIONS, |i| {
                let mut stream = connect(address, Arc::clone(&configs[i % 2]));
                bulk(&mut stream, i as u64);
                stream.conn.protocol_version().unwrap()
            });
            assert_eq!(server.join().unwrap(), CONNECTIONS * BULK, "bytes");
            for (i, version) in negotiated.into_iter().enumerate() {
                let expected = [ProtocolVersion::TLSv1_3, ProtocolVersion::TLSv1_2][i % 2];
                assert_eq!(version, expected, "of connection {i}");
            }
        });
    });
}

/// The client's part: sends, says that it is over, and gets the same in reverse.
fn bulk(stream: &mut Client, seed: u64) {
    let mut sent = bytes(seed, BULK);
    for chunk in sent.chunks(50_000) {
        stream.write_all(chunk).unwrap();
    }
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    sent.reverse();
    expect_bytes(&got, &sent, "what came back");
}

/// A certificate that a client does not trust ends the handshakes of both sides.
#[test]
fn rustls_refuses_a_certificate_that_is_not_trusted() {
    let setup = || [Identity::new(), Identity::new()];
    on_procs("rustls_refuses", setup, |[identity, stranger], _| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let config = stranger.server_config();
        thread::scope(|scope| {
            let server = scope.spawn(|| {
                for _ in 0..CONNECTIONS {
                    let error = accept(&listener, &config).read(&mut [0]).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
                }
            });
            each(CONNECTIONS, |_| {
                let client = identity.client_config(&rustls::version::TLS13);
                let error = connect(address, client).write_all(b"hello").unwrap_err();
                assert!(error.to_string().contains("certificate"), "{error}");
            });
            server.join().unwrap();
        });
    });
}

/// Clients that have greeted wait for data.
#[cfg(feature = "intercept")]
#[test]
fn open_tls_connections_need_few_threads() {
    use crate::harness::expect_few_threads;
    const OPEN: usize = 64;
    on_procs("open_tls_connections", Identity::new, |identity, _| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (server, client) =
            (identity.server_config(), identity.client_config(&rustls::version::TLS13));
        thread::scope(|scope| {
            let greeted = scope.spawn(|| {
                let greet = |mut stream: Server| {
                    stream.read_exact(&mut [0; 5]).unwrap();
                    stream
                };
                (0..OPEN).map(|_| greet(accept(&listener, &server))).collect::<Vec<_>>()
            });
            let wait = |_| {
                let mut stream = connect(address, Arc::clone(&client));
                stream.write_all(b"hello").unwrap();
                let mut got = [0; 3];
                stream.read_exact(&mut got).unwrap();
                assert_eq!(&got, b"now");
            };
            expect_few_threads(OPEN, wait, || {
                for mut stream in greeted.join().unwrap() {
                    stream.write_all(b"now").unwrap();
                }
            });
        });
    });
}
