//! What a polite client adds to one exchange: redirects by hand (credentials never follow to another host), retries of passing
//! troubles, proxies, and a memory of hosts that did not answer, so that a dead one costs its waiting time once.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Result, SourceError};
use crate::hash::base64_padded;
use crate::options::Secret;
use crate::proxy::Proxies;
use crate::transport::{Answer, Call, Fault, FaultKind, Transport, Trust};
use crate::urls::Url;

/// Redirects followed before it is called a loop.
const MAX_HOPS: usize = 10;

/// Longest wait that a server's `Retry-After` is granted.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// How long to put up with a host, which depends on whether another source could be tried instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience {
    /// Without any byte, at the beginning or in the middle.
    pub first_byte: Duration,
    /// Attempts after a failed one, while no progress is made.
    pub retries: u32,
    /// Whether a transfer that stalled is among what is attempted again; if not, the next source gets its turn.
    pub after_stall: bool,
}

/// Asks for one address.
#[derive(Debug, Clone)]
pub(crate) struct Fetch {
    pub url: Url,
    pub headers: Vec<(&'static str, String)>,
    /// Sent as a bearer token to this origin only.
    pub token: Option<Secret>,
    pub trust: Trust,
    /// Overrides the environment's proxy.
    pub proxy: Option<String>,
    pub patience: Patience,
}

/// The answer at the end of the redirects.
pub(crate) struct Reply {
    pub answer: Answer,
    /// The address that answered.
    pub url: Url,
    /// Headers of the redirects on the way, first one first.
    pub passed: Vec<(String, String)>,
}

impl Reply {
    /// A header of the final answer; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.answer.headers, name)
    }

    /// A header of the first redirect that has it, else of the final answer. The hub announces a file's identity on the redirect to the
    /// storage host, whose own headers mean something else.
    pub fn announced(&self, name: &str) -> Option<&str> {
        find(&self.passed, name).or_else(|| self.header(name))
    }

    /// The body as text, at most `limit` bytes.
    pub fn text(self, limit: u64) -> Result<String> {
        let url = self.url.shown();
        let mut bytes = Vec::new();
        let mut body = self.answer.body.take(limit + 1);
        body.read_to_end(&mut bytes).map_err(|e| SourceError::Unreachable { host: self.url.authority(), reason: e.to_string() })?;
        if bytes.len() as u64 > limit {
            return Err(SourceError::Answer { url, reason: format!("the answer is longer than {limit} bytes, which no real one is") });
        }
        String::from_utf8(bytes).map_err(|_| SourceError::Answer { url, reason: "the answer is not text in UTF-8".into() })
    }

    /// The error that this status stands for; `what` was asked for.
    pub fn into_error(mut self, what: &str) -> SourceError {
        let status = self.answer.status;
        let url = self.url.shown();
        let words = self.words();
        let host = self.url.authority();
        match status {
            401 | 403 | 407 => {
                let reason = if words.is_empty() { format!("{host} gave no reason") } else { words };
                SourceError::Denied { what: what.to_owned(), status, reason }
            }
            404 | 410 => {
                let detail = if words.is_empty() { String::new() } else { format!(" ({words})") };
                SourceError::NotFound { what: what.to_owned(), reason: format!("{url} does not exist{detail}") }
            }
            _ => {
                let detail = if words.is_empty() { String::new() } else { format!(": {words}") };
                SourceError::Status { url, status, detail }
            }
        }
    }

    /// What the server says about an error, in one line: a header, JSON's `error`, or short plain text; never a page.
    pub fn words(&mut self) -> String {
        let mut text = self.header("x-error-message").unwrap_or_default().to_owned();
        if text.is_empty() {
            let kind = self.header("content-type").unwrap_or_default().to_ascii_lowercase();
            let mut bytes = Vec::new();
            let _ = (&mut self.answer.body).take(4096).read_to_end(&mut bytes);
            let body = String::from_utf8_lossy(&bytes).into_owned();
            let field = |v: serde_json::Value| ["error", "message", "detail"].iter().find_map(|k| Some(v.get(k)?.as_str()?.to_owned()));
            if let Ok(value) = serde_json::from_str::<serde_json::Value>(&body) {
                text = field(value).unwrap_or_default();
            } else if kind.starts_with("text/plain") {
                text = body;
            }
        }
        let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        line.chars().filter(|c| !c.is_control()).take(300).collect()
    }
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
}

/// The client of one command.
pub(crate) struct Client {
    transport: Option<Box<dyn Transport>>,
    proxies: Proxies,
    dead: Mutex<BTreeMap<String, Fault>>,
    sleep: fn(Duration),
}

impl Client {
    /// Without a transport (offline) every request is an error.
    pub fn new(transport: Option<Box<dyn Transport>>, proxies: Proxies) -> Self {
        Self { transport, proxies, dead: Mutex::default(), sleep: std::thread::sleep }
    }

    /// Tests do not wait.
    #[cfg(test)]
    pub fn hasty(transport: impl Transport + 'static) -> Self {
        Self { transport: Some(Box::new(transport)), proxies: Proxies::default(), dead: Mutex::default(), sleep: |_| {} }
    }

    /// Waits before another attempt.
    pub fn pause(&self, duration: Duration) {
        (self.sleep)(duration);
    }

    /// GET, following redirects, with retries of passing troubles. Any final status is an answer, [`Reply::into_error`] judges it.
    pub fn get(&self, fetch: &Fetch) -> Result<Reply> {
        let mut attempt = 0;
        loop {
            let outcome = self.follow(fetch);
            let (transient, asked) = match &outcome {
                Ok(reply) if matches!(reply.answer.status, 429 | 500 | 502 | 503 | 504) => {
                    (true, reply.header("retry-after").and_then(|v| v.trim().parse().ok()).map(Duration::from_secs))
                }
                Err(Failure::Fault(_, fault)) => (fault.kind == FaultKind::Broken, None),
                _ => (false, None),
            };
            if !transient || attempt >= fetch.patience.retries.min(2) {
                return outcome.map_err(|failure| match failure {
                    Failure::Fault(host, fault) => SourceError::Unreachable { host, reason: fault.reason },
                    Failure::Other(error) => error,
                });
            }
            attempt += 1;
            self.pause(asked.unwrap_or(Duration::from_millis(300 * u64::from(attempt))).min(MAX_PAUSE));
        }
    }

    fn follow(&self, fetch: &Fetch) -> Result<Reply, Failure> {
        let begun = Instant::now();
        let mut url = fetch.url.clone();
        let mut passed = Vec::new();
        for _ in 0..=MAX_HOPS {
            let home = url.same_origin(&fetch.url);
            let mut headers: Vec<(String, String)> = fetch.headers.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect();
            if let Some(authorization) = authorization(&url, fetch, home) {
                headers.push(("authorization".into(), authorization));
            }
            let own_proxy = fetch.proxy.as_deref();
            let proxy = own_proxy.or_else(|| self.proxies.choose(&url)).map(str::to_owned);
            // The redirects of one request share its waiting time.
            let left = fetch.patience.first_byte.saturating_sub(begun.elapsed()).max(Duration::from_millis(500));
            let trust = Trust { ca_files: fetch.trust.ca_files.clone(), unverified: fetch.trust.unverified && home };
            let first_byte = if passed.is_empty() { fetch.patience.first_byte } else { left };
            let call = Call { url: url.without_userinfo(), headers, proxy, trust, first_byte };
            let answer = self.call(&url, &call)?;
            let location = match answer.status {
                301 | 302 | 303 | 307 | 308 => find(&answer.headers, "location").map(str::to_owned),
                _ => None,
            };
            let Some(location) = location else {
                return Ok(Reply { answer, url, passed });
            };
            let shown = url.shown();
            let wrong = |reason: String| Failure::Other(SourceError::Answer { url: shown.clone(), reason });
            let next = url.join(&location).filter(|u| u.scheme == "https" || u.scheme == "http");
            let next = next.ok_or_else(|| wrong("it redirects to something that is no address".into()))?;
            if url.scheme == "https" && next.scheme == "http" && !next.is_loopback() {
                return Err(wrong(format!("it redirects from https to plain http ({}), which is refused", next.authority())));
            }
            passed.extend(answer.headers);
            url = next;
        }
        Err(Failure::Other(SourceError::Answer { url: fetch.url.shown(), reason: "it redirects in a circle".into() }))
    }

    fn call(&self, url: &Url, call: &Call) -> Result<Answer, Failure> {
        let host = url.authority();
        let fail = |fault| Failure::Fault(host.clone(), fault);
        let Some(transport) = &self.transport else {
            return Err(fail(Fault { kind: FaultKind::Refused, reason: "working offline, no connection is made".into() }));
        };
        let known = self.dead.lock().unwrap_or_else(PoisonError::into_inner).get(&host).cloned();
        if let Some(mut fault) = known {
            fault.reason.push_str(" (tried a moment ago)");
            return Err(fail(fault));
        }
        transport.call(call).map_err(|fault| {
            if fault.kind != FaultKind::Broken {
                self.dead.lock().unwrap_or_else(PoisonError::into_inner).insert(host.clone(), fault.clone());
            }
            fail(fault)
        })
    }
}

/// Credentials in the address itself win, for whichever host they were written; a token goes to the origin that was asked alone.
fn authorization(url: &Url, fetch: &Fetch, home: bool) -> Option<String> {
    let written = url.credentials().or_else(|| fetch.url.credentials().filter(|_| home));
    if let Some((user, password)) = written {
        return Some(format!("Basic {}", base64_padded(format!("{user}:{password}").as_bytes())));
    }
    fetch.token.as_ref().filter(|_| home).map(|token| format!("Bearer {}", token.0))
}

enum Failure {
    /// Host and what is wrong with it.
    Fault(String, Fault),
    Other(SourceError),
}
