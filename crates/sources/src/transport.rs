//! One HTTP exchange. The only module that knows the HTTP and TLS libraries; everything above speaks [`Transport`], so that tests
//! need no socket and offline means that no transport exists.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// A GET request, without redirects, retries or credentials logic.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// Absolute, without credentials.
    pub url: String,
    pub headers: Vec<(String, String)>,
    /// The proxy's address.
    pub proxy: Option<String>,
    pub trust: Trust,
    /// Name, connection, handshake and answer's head together may take this long, and the body may pause as long.
    pub first_byte: Duration,
}

/// Whose certificates are believed.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Trust {
    /// Bundles beside the system's.
    pub ca_files: Vec<PathBuf>,
    /// Anyone's: only for hosts that the user declared trusted to pip.
    pub unverified: bool,
}

/// The head of an answer, and its body to read.
pub(crate) struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Box<dyn Read + Send>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub kind: FaultKind,
    pub reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// The name has no address.
    NotResolved,
    /// Nobody listens, or no route leads there.
    Refused,
    /// Nothing came in time.
    Silent,
    /// No secure connection can be made.
    Tls,
    /// The proxy failed.
    Proxy,
    /// The exchange broke in the middle; another attempt may work.
    Broken,
}

/// Does one exchange.
pub(crate) trait Transport: Send + Sync {
    fn call(&self, call: &Call) -> Result<Answer, Fault>;
}

/// What distinguishes one connection pool from another.
type AgentKey = (Trust, Option<String>, Duration);

/// Real sockets.
#[derive(Default)]
pub(crate) struct Network {
    agents: Mutex<BTreeMap<AgentKey, ureq::Agent>>,
}

impl Network {
    /// Agents hold the trust store and idle connections, so each kind is made once, at first use.
    fn agent(&self, call: &Call) -> Result<ureq::Agent, Fault> {
        let key = (call.trust.clone(), call.proxy.clone(), call.first_byte);
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = agents.get(&key) {
            return Ok(agent.clone());
        }
        let proxy = match &call.proxy {
            Some(address) => Some(ureq::Proxy::new(address).map_err(|_| Fault {
                kind: FaultKind::Proxy,
                reason: format!("the proxy's address `{}` cannot be used; write http://host:port", crate::urls::redact(address)),
            })?),
            None => None,
        };
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .root_certs(RootCerts::Specific(Arc::new(root_certificates(&call.trust)?)))
            .disable_verification(call.trust.unverified)
            .build();
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .tls_config(tls)
            .proxy(proxy)
            .user_agent(concat!("tunesmith/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // A second address gets its turn before the whole budget is gone.
            .timeout_connect(Some(call.first_byte.mul_f32(0.75)))
            .timeout_recv_response(Some(call.first_byte))
            .timeout_per_read(Some(call.first_byte))
            .build()
            .into();
        agents.insert(key, agent.clone());
        Ok(agent)
    }
}

impl Transport for Network {
    fn call(&self, call: &Call) -> Result<Answer, Fault> {
        let mut request = self.agent(call)?.get(&call.url);
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        // The library times each phase alone; the promise is about their sum. A thread that is still stuck in the system's name
        // resolution when time is up is left to end by itself.
        let (send, receive) = sync_channel(1);
        let worker = std::thread::Builder::new().name("tunesmith-http".into()).spawn(move || {
            let _ = send.send(request.call());
        });
        if let Err(e) = worker {
            return Err(Fault { kind: FaultKind::Broken, reason: format!("no thread could be started: {e}") });
        }
        let silent = || Fault { kind: FaultKind::Silent, reason: format!("no answer within {} s", call.first_byte.as_secs_f32().ceil()) };
        let response = match receive.recv_timeout(call.first_byte) {
            Ok(Ok(response)) => response,
            Ok(Err(ureq::Error::Timeout(_))) | Err(RecvTimeoutError::Timeout) => return Err(silent()),
            Ok(Err(error)) => return Err(fault(error, call)),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Fault { kind: FaultKind::Broken, reason: "the request ended without an answer".into() });
            }
        };
        let (head, body) = response.into_parts();
        let headers = head.headers.iter();
        let headers = headers.map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        Ok(Answer { status: head.status.as_u16(), headers: headers.collect(), body: Box::new(Plain(body.into_reader())) })
    }
}

/// A body whose errors are of the standard library alone.
struct Plain<R>(R);

impl<R: Read> Read for Plain<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|e| match e.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>()) {
            Some(ureq::Error::Timeout(_)) => io::Error::new(io::ErrorKind::TimedOut, "the transfer stalled"),
            Some(other) => io::Error::new(e.kind(), other.to_string()),
            None => e,
        })
    }
}

/// The system's certificates (or those of `SSL_CERT_FILE`, `SSL_CERT_DIR`), with the call's own bundles.
fn root_certificates(trust: &Trust) -> Result<Vec<Certificate<'static>>, Fault> {
    if trust.unverified {
        return Ok(Vec::new());
    }
    let system = rustls_native_certs::load_native_certs();
    let mut found = system.certs;
    let mut problems: Vec<String> = system.errors.iter().map(ToString::to_string).collect();
    for file in &trust.ca_files {
        let (one, dir) = if file.is_dir() { (None, Some(file.as_path())) } else { (Some(file.as_path()), None) };
        let own = rustls_native_certs::load_certs_from_paths(one, dir);
        if own.certs.is_empty() {
            problems.push(format!("no certificate in {}", file.display()));
        }
        found.extend(own.certs);
    }
    if found.is_empty() {
        let because = if problems.is_empty() { String::new() } else { format!(" ({})", problems.join("; ")) };
        let reason = format!(
            "no trusted certificates were found on this machine{because}; install the system's `ca-certificates`, or set SSL_CERT_FILE \
             to a bundle in PEM form"
        );
        return Err(Fault { kind: FaultKind::Tls, reason });
    }
    Ok(found.iter().map(|c| Certificate::from_der(c.as_ref()).to_owned()).collect())
}

fn fault(error: ureq::Error, call: &Call) -> Fault {
    let via = call.proxy.as_deref().and_then(crate::urls::Url::parse).map(|p| p.authority());
    let make = |kind, reason: String| match &via {
        Some(proxy) => Fault { kind, reason: format!("{reason} (through the proxy {proxy})") },
        None => Fault { kind, reason },
    };
    let bundle = "; if your organisation inspects secure connections, set SSL_CERT_FILE to its certificate bundle";
    match error {
        ureq::Error::HostNotFound => make(FaultKind::NotResolved, "the host name does not resolve".into()),
        ureq::Error::Io(e) => match e.kind() {
            io::ErrorKind::ConnectionRefused => make(FaultKind::Refused, "connection refused".into()),
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
                make(FaultKind::Refused, e.to_string())
            }
            _ if e.to_string().contains("lookup address information") => {
                make(FaultKind::NotResolved, "the host name does not resolve".into())
            }
            // The TLS library's complaints arrive as errors of the socket that it reads.
            io::ErrorKind::InvalidData => make(FaultKind::Tls, format!("no secure connection: {e}{bundle}")),
            _ => make(FaultKind::Broken, e.to_string()),
        },
        ureq::Error::Tls(reason) => make(FaultKind::Tls, format!("no secure connection: {reason}{bundle}")),
        ureq::Error::Rustls(e) => make(FaultKind::Tls, format!("no secure connection: {e}{bundle}")),
        ureq::Error::Pem(e) => make(FaultKind::Tls, format!("no secure connection: {e}")),
        ureq::Error::ConnectProxyFailed(reason) => make(FaultKind::Proxy, format!("the proxy could not connect: {reason}")),
        ureq::Error::InvalidProxyUrl => make(FaultKind::Proxy, "the proxy's address cannot be used".into()),
        other => make(FaultKind::Broken, other.to_string()),
    }
}
