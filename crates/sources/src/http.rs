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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{PATIENCE, Web};

    fn fetch(url: &str) -> Fetch {
        Fetch {
            url: Url::parse(url).unwrap(),
            headers: vec![("accept", "x/y".into())],
            token: Some(Secret("t".into())),
            trust: Trust { ca_files: Vec::new(), unverified: true },
            proxy: None,
            patience: PATIENCE,
        }
    }

    #[test]
    fn credentials_do_not_follow_to_another_origin() {
        let web = Web::default();
        web.redirect("https://h.example/a", "/b").redirect("https://h.example/b", "https://h.example:8443/c");
        web.redirect("https://h.example:8443/c", "https://h.example/d").file("https://h.example/d", "x", &[]);
        let reply = web.client().get(&fetch("https://h.example/a")).unwrap();
        assert_eq!((reply.url.shown().as_str(), reply.text(9).unwrap().as_str()), ("https://h.example/d", "x"));
        let sent: Vec<_> = web.calls().into_iter().map(|c| (c.sent("authorization").map(str::to_owned), c.trust.unverified)).collect();
        let bearer = Some("Bearer t".to_owned());
        assert_eq!(sent, [(bearer.clone(), true), (bearer.clone(), true), (None, false), (bearer, true)]);

        web.redirect("https://us:pw@x.example/", "no");
        web.redirect("https://x.example/", "https://o.example/").file("https://o.example/", "o", &[]);
        web.client().get(&fetch("https://us:pw@x.example/")).unwrap();
        let calls = web.calls();
        assert_eq!((calls[0].url.as_str(), calls[0].sent("authorization")), ("https://x.example/", Some("Basic dXM6cHc=")));
        assert_eq!(calls[1].sent("authorization"), None);
    }

    #[test]
    fn redirects_that_are_refused() {
        let web = Web::default();
        web.redirect("https://h.example/down", "http://h.example/x").redirect("https://h.example/loop", "loop");
        web.redirect("https://h.example/odd", "ftp://h.example/x").redirect("http://127.0.0.1/a", "http://127.0.0.1:5/b");
        for (page, word) in [("down", "plain http"), ("loop", "circle"), ("odd", "no address")] {
            let error = web.client().get(&fetch(&format!("https://h.example/{page}"))).err().unwrap().to_string();
            assert!(error.contains(word), "{error}");
        }
        assert_eq!(web.client().get(&fetch("http://127.0.0.1/a")).unwrap().answer.status, 404);
    }

    #[test]
    fn a_dead_host_is_asked_once() {
        let web = Web::default();
        for (host, kind) in [("a", FaultKind::NotResolved), ("b", FaultKind::Silent), ("c", FaultKind::Refused), ("d", FaultKind::Tls)] {
            let url = format!("https://{host}.example/x");
            web.fault(&url, kind);
            let client = web.client();
            let first = client.get(&fetch(&url)).err().unwrap().to_string();
            let second = client.get(&fetch(&url)).err().unwrap().to_string();
            assert!(first.starts_with(&format!("{host}.example: {kind:?}")) && second.contains("a moment ago"), "{first} {second}");
            assert_eq!(web.calls().len(), 1, "{host}");
        }
        web.fault("https://e.example/x", FaultKind::Broken);
        assert!(web.client().get(&fetch("https://e.example/x")).is_err());
        assert_eq!(web.calls().len(), 3, "a broken exchange is tried again");
    }

    #[test]
    fn offline_there_is_nothing_to_call() {
        let client = Client::new(None, Proxies::default());
        assert!(client.get(&fetch("https://h.example/")).err().unwrap().to_string().contains("offline"));
    }

    #[test]
    fn proxies_by_environment_or_by_setting() {
        let web = Web::default();
        let mut client = web.client();
        client.proxies = Proxies { https: Some("http://p:1".into()), none_for: vec!["n.example".into()], ..Proxies::default() };
        web.redirect("https://h.example/", "https://n.example/");
        client.get(&fetch("https://h.example/")).unwrap();
        client.get(&Fetch { proxy: Some("http://own:2".into()), ..fetch("https://n.example/") }).unwrap();
        let proxies: Vec<_> = web.calls().into_iter().map(|c| c.proxy).collect();
        assert_eq!(proxies, [Some("http://p:1".into()), None, Some("http://own:2".into())]);
    }

    #[test]
    fn errors_repeat_the_servers_words_but_no_pages() {
        let web = Web::default();
        let error = |status, headers: &[(&str, &str)], body: &str| {
            web.status("https://h.example/f?sig=1", status, headers, body);
            web.client().get(&fetch("https://h.example/f?sig=1")).unwrap().into_error("the file").to_string()
        };
        assert_eq!(error(401, &[], r#"{"error":"no  \n entry"}"#), "the file: access denied (401): no entry");
        assert_eq!(
            error(404, &[("content-type", "text/html")], "<html>page"),
            "the file was not found: https://h.example/f?… does not exist"
        );
        assert_eq!(error(418, &[("content-type", "text/plain")], "teapot"), "https://h.example/f?…: HTTP status 418: teapot");
        assert_eq!(error(500, &[("x-error-message", "down")], "x"), "https://h.example/f?…: HTTP status 500: down");
        let long = web.file("https://h.example/long", "12345", &[]).client().get(&fetch("https://h.example/long")).unwrap();
        assert!(long.text(4).unwrap_err().to_string().contains("longer than 4"));
    }
}
