//! Which proxy, if any, stands between this machine and a host: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`, in the
//! common reading of curl, Python's requests and Go.

use std::ffi::OsString;
use std::net::IpAddr;

use crate::urls::Url;

/// The environment's proxies.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Proxies {
    pub http: Option<String>,
    pub https: Option<String>,
    pub all: Option<String>,
    pub none_for: Vec<String>,
}

impl std::fmt::Debug for Proxies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A proxy's address may hold a password.
        let set = [self.http.is_some(), self.https.is_some(), self.all.is_some()];
        f.debug_struct("Proxies").field("http, https, all", &set).field("none_for", &self.none_for).finish()
    }
}

impl Proxies {
    pub fn read(env: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let get = |name: &str| {
            // Lower case first, as curl does.
            let value = env(name).or_else(|| env(&name.to_ascii_uppercase()))?;
            Some(value.to_string_lossy().trim().to_owned()).filter(|v| !v.is_empty())
        };
        // A CGI server turns the request header `Proxy:` into HTTP_PROXY ("httpoxy"), so there only lower case counts.
        let cgi = env("REQUEST_METHOD").is_some();
        let http = if cgi { env("http_proxy").map(|v| v.to_string_lossy().into_owned()) } else { get("http_proxy") };
        let list = get("no_proxy").unwrap_or_default();
        let none_for = list.split([',', ' ', ';']).map(|e| e.trim().to_ascii_lowercase()).filter(|e| !e.is_empty()).collect();
        Self { http, https: get("https_proxy"), all: get("all_proxy"), none_for }
    }

    /// The proxy's address for `url`.
    pub fn choose(&self, url: &Url) -> Option<&str> {
        let own = if url.scheme == "https" { &self.https } else { &self.http };
        let proxy = own.as_deref().or(self.all.as_deref())?;
        if self.none_for.iter().any(|entry| matches(entry, url)) { None } else { Some(proxy) }
    }
}

/// One entry of `NO_PROXY`: `*`, a host with everything below it (with or without a leading dot or `*.`), an address, a CIDR block;
/// each with an optional port.
fn matches(entry: &str, url: &Url) -> bool {
    if entry == "*" {
        return true;
    }
    let host = url.host.trim_matches(['[', ']']);
    if let Ok(address) = host.parse::<IpAddr>()
        && let Some((network, bits)) = entry.split_once('/')
    {
        return network.parse().is_ok_and(|n| bits.parse().is_ok_and(|b| in_block(address, n, b)));
    }
    let (name, port) = match entry.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => match port.parse::<u16>() {
            Ok(port) => (name, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    };
    if port.is_some_and(|p| p != url.effective_port()) {
        return false;
    }
    let name = name.trim_matches(['[', ']']);
    let name = name.strip_prefix('*').unwrap_or(name);
    let name = name.strip_prefix('.').unwrap_or(name);
    !name.is_empty() && (host == name || host.strip_suffix(name).is_some_and(|front| front.ends_with('.')))
}

fn in_block(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            a.to_bits() & mask == n.to_bits() & mask
        }
        (IpAddr::V6(a), IpAddr::V6(n)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            a.to_bits() & mask == n.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(vars: &[(&str, &str)], url: &str) -> Option<String> {
        let env = |name: &str| vars.iter().find(|(k, _)| *k == name).map(|(_, v)| OsString::from(v));
        Proxies::read(&env).choose(&Url::parse(url).unwrap()).map(str::to_owned)
    }

    #[test]
    fn by_scheme_with_all_as_the_fallback() {
        let vars = [("HTTPS_PROXY", "http://s:1"), ("ALL_PROXY", "socks5://a:2")];
        assert_eq!(chosen(&vars, "https://h/").as_deref(), Some("http://s:1"));
        assert_eq!(chosen(&vars, "http://h/").as_deref(), Some("socks5://a:2"));
        assert_eq!(chosen(&[("https_proxy", "http://low"), ("HTTPS_PROXY", "http://up")], "https://h/").as_deref(), Some("http://low"));
        assert_eq!(chosen(&[("HTTP_PROXY", "http://x"), ("REQUEST_METHOD", "GET")], "http://h/"), None);
        assert_eq!(chosen(&[("HTTPS_PROXY", "")], "https://h/"), None);
    }

    #[test]
    fn no_proxy_entries() {
        let open = |list: &str, url: &str| chosen(&[("ALL_PROXY", "http://p"), ("NO_PROXY", list)], url).is_none();
        assert!(open("*", "https://anything/"));
        assert!(open("example.com", "https://example.com/") && open("example.com", "https://a.b.example.com/"));
        assert!(open(" x ,.Example.com", "https://example.com/") && open("*.example.com", "https://a.example.com/"));
        assert!(!open("example.com", "https://notexample.com/") && !open("example.com", "https://example.com.evil/"));
        assert!(open("h:8080", "http://h:8080/") && !open("h:8080", "http://h/") && open("h:443", "https://h/"));
        assert!(open("10.0.0.0/8", "http://10.2.3.4/") && !open("10.0.0.0/8", "http://11.0.0.1/") && !open("10.0.0.0/8", "http://ten/"));
        assert!(open("0.0.0.0/0", "http://9.9.9.9/") && !open("10.0.0.0/99", "http://10.0.0.1/"));
        assert!(open("127.0.0.1,::1", "http://[::1]:9/") && open("fd00::/8", "http://[fd12::1]/") && open("[::1]:9", "http://[::1]:9/"));
        assert!(!open("", "https://h/") && !open(".", "https://h/"));
    }
}
