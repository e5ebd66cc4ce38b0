//! Versions of Python packages, compared as PEP 440 orders them.

use std::cmp::Ordering;

/// A version in PEP 440's normal form.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    epoch: u64,
    release: Vec<u64>,
    pre: Option<(u8, u64)>,
    post: Option<u64>,
    dev: Option<u64>,
    local: Vec<LocalPart>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum LocalPart {
    // Text sorts before numbers: PEP 440, "Local version identifiers".
    Text(String),
    Number(u64),
}

/// Epoch, release, pre-release, post-release, development release, local label: compared in this order.
type Key<'a> = (u64, &'a [u64], (i8, u8, u64), (bool, u64), (bool, u64), &'a [LocalPart]);

impl Version {
    /// `None` for what PEP 440 does not accept, after its normalisations (case, `v` prefix, separators, `alpha` for `a`).
    pub fn parse(text: &str) -> Option<Self> {
        let lower = text.trim().to_ascii_lowercase();
        let mut rest = lower.strip_prefix('v').unwrap_or(&lower);
        let mut local = Vec::new();
        if let Some((public, tail)) = rest.split_once('+') {
            rest = public;
            for part in tail.split(['.', '-', '_']) {
                if part.is_empty() || !part.bytes().all(|b| b.is_ascii_alphanumeric()) {
                    return None;
                }
                local.push(part.parse().map_or_else(|_| LocalPart::Text(part.to_owned()), LocalPart::Number));
            }
        }
        let epoch = match rest.split_once('!') {
            Some((epoch, tail)) => {
                rest = tail;
                digits(epoch)?
            }
            None => 0,
        };
        let mut cursor = Cursor(rest);
        let mut release = vec![cursor.number()?];
        while let Some(n) = cursor.attempt(|c| c.literal(".").then(|| c.number()).flatten()) {
            release.push(n);
        }
        let pre = cursor.attempt(|c| {
            c.separator();
            let kinds = [("alpha", 0), ("a", 0), ("beta", 1), ("b", 1), ("preview", 2), ("pre", 2), ("rc", 2), ("c", 2)];
            let &(_, kind) = kinds.iter().find(|(name, _)| c.literal(name))?;
            Some((kind, c.optional_number()))
        });
        let post = cursor.attempt(|c| {
            if c.0.starts_with('-') && c.0[1..].starts_with(|d: char| d.is_ascii_digit()) {
                c.literal("-");
                return c.number();
            }
            c.separator();
            ["post", "rev", "r"].iter().find(|name| c.literal(name))?;
            Some(c.optional_number())
        });
        let dev = cursor.attempt(|c| {
            c.separator();
            c.literal("dev").then(|| c.optional_number())
        });
        cursor.0.is_empty().then_some(Self { epoch, release, pre, post, dev, local })
    }

    /// Alpha, beta, candidate or development release: not taken unless asked for by name.
    pub fn is_prerelease(&self) -> bool {
        self.pre.is_some() || self.dev.is_some()
    }

    /// `==` of a requirement: a local label of the candidate is ignored unless the requirement has one.
    pub fn satisfies(&self, wanted: &Self) -> bool {
        let mut public = self.clone();
        if wanted.local.is_empty() {
            public.local.clear();
        }
        public == *wanted
    }

    /// Release without trailing zeros, then the keys by which `packaging.version` sorts.
    fn key(&self) -> Key<'_> {
        let end = self.release.iter().rposition(|&n| n != 0).map_or(0, |i| i + 1);
        // A bare development release sorts before every pre-release, a final one after them.
        let pre = match (self.pre, self.post, self.dev) {
            (Some((kind, n)), _, _) => (0, kind, n),
            (None, None, Some(_)) => (-1, 0, 0),
            _ => (1, 0, 0),
        };
        let post = (self.post.is_some(), self.post.unwrap_or(0));
        let dev = (self.dev.is_none(), self.dev.unwrap_or(0));
        (self.epoch, &self.release[..end], pre, post, dev, &self.local)
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Version {}
impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

fn digits(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// The unread rest of a version; a failed attempt leaves it where it was.
struct Cursor<'a>(&'a str);

impl Cursor<'_> {
    fn attempt<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let before = self.0;
        let found = read(self);
        if found.is_none() {
            self.0 = before;
        }
        found
    }

    fn literal(&mut self, text: &str) -> bool {
        self.0.strip_prefix(text).map(|rest| self.0 = rest).is_some()
    }

    fn separator(&mut self) {
        self.0 = self.0.strip_prefix(['.', '-', '_']).unwrap_or(self.0);
    }

    fn number(&mut self) -> Option<u64> {
        let end = self.0.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.0.len());
        let n = digits(&self.0[..end])?;
        self.0 = &self.0[end..];
        Some(n)
    }

    fn optional_number(&mut self) -> u64 {
        self.attempt(|c| {
            c.separator();
            c.number()
        })
        .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v(text: &str) -> Version {
        Version::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn orders_as_pep_440_does() {
        // The order of PEP 440's own examples, "Summary of permitted suffixes and relative ordering", and of
        // packaging's test suite.
        let order = [
            "1.0.dev456",
            "1.0a1",
            "1.0a2.dev456",
            "1.0a12.dev456",
            "1.0a12",
            "1.0b1.dev456",
            "1.0b2",
            "1.0b2.post345.dev456",
            "1.0b2.post345",
            "1.0rc1.dev456",
            "1.0rc1",
            "1.0",
            "1.0+abc.5",
            "1.0+abc.7",
            "1.0+5",
            "1.0.post456.dev34",
            "1.0.post456",
            "1.0.15",
            "1.1.dev1",
            "1.10",
            "2013.10",
            "1!0.1",
        ];
        for (i, a) in order.iter().enumerate() {
            for (j, b) in order.iter().enumerate() {
                assert_eq!(v(a).cmp(&v(b)), i.cmp(&j), "{a} {b}");
            }
        }
    }

    #[test]
    fn normalises_spellings() {
        for (a, b) in [
            ("1.0", "1"),
            ("1.0.0", "v1"),
            ("1.0ALPHA1", "1.0a1"),
            ("1.0-beta.2", "1.0b2"),
            ("1.0c1", "1.0rc1"),
            ("1.0-1", "1.0.post1"),
            ("1.0.rev", "1.0.post0"),
            ("1.0dev", "1.0.dev0"),
            ("1.0+ubuntu-1", "1.0+ubuntu.1"),
            (" 01.02 ", "1.2"),
            ("1.0_preview3", "1.0rc3"),
        ] {
            assert_eq!(v(a), v(b), "{a} {b}");
        }
        for bad in ["", "x", "1.", "1.0 beta x", "1..0", "==1", "1.*", "1.0+", "!1", "1.0-", "1/2"] {
            assert!(Version::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn local_labels_are_ignored_unless_asked_for() {
        assert!(v("1.0+cpu").satisfies(&v("1.0")));
        assert!(!v("1.0").satisfies(&v("1.0+cpu")));
        assert!(v("1.0a1").is_prerelease() && v("1.0.dev1").is_prerelease() && !v("1.0.post1").is_prerelease());
    }
}
