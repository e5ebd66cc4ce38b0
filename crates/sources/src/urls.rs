//! Just enough of RFC 3986 for indexes, redirects and cache keys: split, join, percent coding, and addresses that are
//! safe to show.

/// An absolute `http`/`https`/`file` address in its parts. The fragment is cut off (see [`split_fragment`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    /// Lower case.
    pub scheme: String,
    /// `user[:password]`, percent-encoded as given.
    pub userinfo: Option<String>,
    /// Lower case, without brackets around an IPv6 address removed.
    pub host: String,
    /// Only when it is written and differs from the scheme's own.
    pub port: Option<u16>,
    /// With its leading slash, encoded as given.
    pub path: String,
    /// Without the question mark.
    pub query: Option<String>,
}

/// Separates `#fragment`.
pub(crate) fn split_fragment(text: &str) -> (&str, Option<&str>) {
    match text.split_once('#') {
        Some((url, fragment)) => (url, Some(fragment)),
        None => (text, None),
    }
}

impl Url {
    /// `None` when there is no scheme or no host.
    pub fn parse(text: &str) -> Option<Self> {
        let (text, _) = split_fragment(text.trim());
        let (scheme, rest) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let (userinfo, hostport) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user.to_owned()).filter(|u| !u.is_empty()), host),
            None => (None, authority),
        };
        let bracket = hostport.rfind(']').unwrap_or(0);
        let (host, port) = match hostport[bracket..].find(':') {
            Some(at) => (&hostport[..bracket + at], &hostport[bracket + at + 1..]),
            None => (hostport, ""),
        };
        let port = if port.is_empty() { None } else { Some(port.parse::<u16>().ok()?) };
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~[]:%".contains(c) || !c.is_ascii();
        if (host.is_empty() && scheme != "file") || !host.chars().all(allowed) {
            return None;
        }
        let (path, query) = match tail.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (tail, None),
        };
        let path = if path.is_empty() { "/" } else { path };
        let own = default_port(&scheme);
        Some(Self {
            host: host.to_ascii_lowercase(),
            port: port.filter(|&p| Some(p) != own),
            path: path.to_owned(),
            query,
            userinfo,
            scheme,
        })
    }

    /// Resolves a reference (a redirect's `Location`, an index page's `href`) against this address.
    pub fn join(&self, reference: &str) -> Option<Self> {
        let (reference, _) = split_fragment(reference.trim());
        let has_scheme = reference.find(':').is_some_and(|at| {
            at > 0 && reference[..at].chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) && reference[at..].starts_with("://")
        });
        if has_scheme {
            return Self::parse(reference);
        }
        if let Some(rest) = reference.strip_prefix("//") {
            return Self::parse(&format!("{}://{rest}", self.scheme));
        }
        let mut joined = self.clone();
        if reference.is_empty() {
            return Some(joined);
        }
        let (path, query) = match reference.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (reference, None),
        };
        joined.query = query;
        if !path.is_empty() {
            let merged = if path.starts_with('/') {
                path.to_owned()
            } else {
                let base = &self.path[..=self.path.rfind('/').unwrap_or(0)];
                format!("{}{path}", if base.is_empty() { "/" } else { base })
            };
            joined.path = remove_dots(&merged);
        }
        Some(joined)
    }

    /// `host[:port]`, as the dead-host memory, NO_PROXY and messages name it.
    pub fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    /// The port that is connected to.
    pub fn effective_port(&self) -> u16 {
        self.port.or_else(|| default_port(&self.scheme)).unwrap_or(0)
    }

    /// Same scheme, host and port: credentials may go along.
    pub fn same_origin(&self, other: &Self) -> bool {
        self.scheme == other.scheme && self.host == other.host && self.effective_port() == other.effective_port()
    }

    /// This machine itself, where plain `http` is as safe as anything.
    pub fn is_loopback(&self) -> bool {
        let host = self.host.trim_matches(['[', ']']);
        host == "localhost" || host.ends_with(".localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// The whole address without credentials: what goes on the wire.
    pub fn without_userinfo(&self) -> String {
        let query = self.query.as_ref().map(|q| format!("?{q}")).unwrap_or_default();
        format!("{}://{}{}{query}", self.scheme, self.authority(), self.path)
    }

    /// For people: neither credentials nor query (a signed link's query is a credential).
    pub fn shown(&self) -> String {
        let query = if self.query.is_some() { "?…" } else { "" };
        format!("{}://{}{}{query}", self.scheme, self.authority(), self.path)
    }

    /// User and password, decoded.
    pub fn credentials(&self) -> Option<(String, String)> {
        let info = self.userinfo.as_ref()?;
        let (user, password) = info.split_once(':').unwrap_or((info, ""));
        Some((percent_decode(user), percent_decode(password)))
    }

    /// The last path segment, decoded; `None` for a directory.
    pub fn file_name(&self) -> Option<String> {
        let last = self.path.rsplit('/').next().unwrap_or_default();
        Some(percent_decode(last)).filter(|n| !n.is_empty())
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

fn remove_dots(path: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        match part {
            "." | ".." => {
                if part == ".." {
                    out.pop();
                }
                if last {
                    out.push("");
                }
            }
            part => out.push(part),
        }
    }
    format!("/{}", out.join("/"))
}

/// Any text that may hold an address, without credentials in it.
pub(crate) fn redact(text: &str) -> String {
    match Url::parse(text) {
        Some(url) if url.userinfo.is_some() => {
            let fragment = split_fragment(text).1.map(|f| format!("#{f}")).unwrap_or_default();
            format!("{}{fragment}", url.without_userinfo())
        }
        _ => text.to_owned(),
    }
}

/// Undoes percent coding; what is no valid escape stays as it is, invalid UTF-8 becomes the replacement character.
pub(crate) fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let pair = (bytes[i] == b'%').then(|| bytes.get(i + 1..i + 3)).flatten();
        match pair.and_then(|p| Some(hex_digit(p[0])? * 16 + hex_digit(p[1])?)) {
            Some(byte) => {
                out.push(byte);
                i += 3;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hex_digit(c: u8) -> Option<u8> {
    (c as char).to_digit(16).map(|d| d as u8)
}

/// Percent-codes everything but unreserved characters, slashes too.
pub(crate) fn encode_segment(text: &str) -> String {
    encode(text, "-._~")
}

/// As [`encode_segment`] with the slashes kept.
pub(crate) fn encode_path(text: &str) -> String {
    encode(text, "-._~/")
}

fn encode(text: &str, keep: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for &b in text.as_bytes() {
        if b.is_ascii_alphanumeric() || keep.as_bytes().contains(&b) {
            out.push(b as char);
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn splits_addresses() {
        let u = url("HTTPS://us%40er:p:w@Host.Example:8443/a%20b/c.whl?x=1#sha256=00");
        assert_eq!((u.scheme.as_str(), u.host.as_str(), u.port), ("https", "host.example", Some(8443)));
        assert_eq!(u.credentials(), Some(("us@er".into(), "p:w".into())));
        assert_eq!(u.without_userinfo(), "https://host.example:8443/a%20b/c.whl?x=1");
        assert_eq!(u.shown(), "https://host.example:8443/a%20b/c.whl?…");
        assert_eq!(u.file_name().as_deref(), Some("c.whl"));
        assert_eq!(url("https://h:443").without_userinfo(), "https://h/");
        assert_eq!(url("http://[::1]:8080/x").authority(), "[::1]:8080");
        assert!(url("http://[::1]:8080/x").is_loopback() && url("http://127.9.9.9/").is_loopback());
        assert!(!url("http://localhost.evil.example/").is_loopback());
        for bad in ["", "https://", "https:///x", "nohost", "https://h:99999/", "https://a b/", "https://u@/x"] {
            assert_eq!(Url::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn joins_as_rfc_3986_section_5_4_says() {
        let base = url("http://a/b/c/d?q");
        for (reference, want) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("g#s", "http://a/b/c/g"),
            ("", "http://a/b/c/d?q"),
            (".", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/../h", "http://a/b/c/h"),
            ("https://o/x:y", "https://o/x:y"),
            ("x:y", "http://a/b/c/x:y"), // not a scheme that anything here speaks
        ] {
            assert_eq!(base.join(reference).unwrap().without_userinfo(), want, "{reference}");
        }
    }

    #[test]
    fn origins_differ_by_scheme_host_and_port() {
        assert!(url("https://h/a").same_origin(&url("https://H:443/b")));
        for other in ["http://h/", "https://h:444/", "https://h.x/", "https://xh/"] {
            assert!(!url("https://h/").same_origin(&url(other)), "{other}");
        }
    }

    #[test]
    fn percent_coding() {
        assert_eq!(percent_decode("a%2Fb%zz%4"), "a/b%zz%4");
        assert_eq!(percent_decode("%E4%BD%A0"), "你");
        assert_eq!(encode_path("data/你 好.csv"), "data/%E4%BD%A0%20%E5%A5%BD.csv");
        assert_eq!(encode_segment("refs/pr/1"), "refs%2Fpr%2F1");
        assert_eq!(redact("https://u:p@h/x?y#sha256=1"), "https://h/x?y#sha256=1");
        assert_eq!(redact("plain"), "plain");
    }
}
