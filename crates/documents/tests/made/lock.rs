//! Encrypting PDF files as the standard's own security handler does (ISO 32000-2, 7.6): what a reader must undo, written without its help.
//! Slow, plain, and for tests alone.

use sha2::{Digest, Sha256, Sha384, Sha512};

/// Ways to encrypt, by version and revision of the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// RC4 with 40 bits (V 1, R 2).
    Rc4Short,
    /// RC4 with 128 bits (V 2, R 3).
    Rc4,
    /// AES with 128 bits (V 4, R 4).
    Aes128,
    /// AES with 256 bits and a plain hash of the password (V 5, R 5).
    Aes256Plain,
    /// AES with 256 bits (V 5, R 6).
    Aes256,
}

impl Way {
    /// All.
    pub const ALL: [Way; 5] = [Way::Rc4Short, Way::Rc4, Way::Aes128, Way::Aes256Plain, Way::Aes256];

    /// Revision of the handler.
    fn revision(self) -> u8 {
        2 + self as u8
    }
}

/// What a file is locked with.
pub struct Lock {
    way: Way,
    key: Vec<u8>,
    /// What belongs into the trailer.
    pub trailer: String,
}

/// Fills passwords up to 32 bytes.
const PADDING: [u8; 32] = [
    0x28, 0xBF, 0x4E, 0x5E, 0x4E, 0x75, 0x8A, 0x41, 0x64, 0x00, 0x4E, 0x56, 0xFF, 0xFA, 0x01, 0x08, 0x2E, 0x2E, 0x00, 0xB6, 0xD0, 0x68,
    0x3E, 0x80, 0x2F, 0x0C, 0xA9, 0xFE, 0x64, 0x53, 0x69, 0x7A,
];
/// What may be done with the file: everything.
const PERMISSIONS: i32 = -4;
/// The file's identifier.
const ID: &[u8; 16] = b"a file of a test";

impl Lock {
    /// A lock that the user's password opens. The owner's is another one, which no test asks for.
    pub fn new(way: Way, password: &str) -> Lock {
        let (key, words) =
            if way.revision() < 5 { Self::old(way, password.as_bytes()) } else { Self::new_handler(way, password.as_bytes()) };
        let filter = |name: &str| format!("/CF << /StdCF << /CFM /{name} /AuthEvent /DocOpen >> >> /StmF /StdCF /StrF /StdCF");
        let version = match way {
            Way::Rc4Short => "/V 1".to_owned(),
            Way::Rc4 => "/V 2 /Length 128".to_owned(),
            Way::Aes128 => format!("/V 4 /Length 128 {}", filter("AESV2")),
            Way::Aes256Plain | Way::Aes256 => format!("/V 5 /Length 256 {}", filter("AESV3")),
        };
        let head = format!("/Filter /Standard {version} /R {} /P {PERMISSIONS}", way.revision());
        let trailer = format!("/Encrypt << {head} {words} >> /ID [<{0}> <{0}>]", hex(ID));
        Lock { way, key, trailer }
    }

    /// Key and entries of revisions 2 to 4 (algorithms 2, 4 and 5).
    fn old(way: Way, password: &[u8]) -> (Vec<u8>, String) {
        let owner = [0x6F; 32];
        let padded: Vec<u8> = password.iter().chain(&PADDING).copied().take(32).collect();
        let mut hash = md5(&[&padded[..], &owner, &PERMISSIONS.to_le_bytes(), ID].concat());
        let n = if way == Way::Rc4Short { 5 } else { 16 };
        if way != Way::Rc4Short {
            (0..50).for_each(|_| hash = md5(&hash[..n]));
        }
        let key = hash[..n].to_vec();
        let user = if way == Way::Rc4Short {
            rc4(&key, &PADDING)
        } else {
            let first = md5(&[&PADDING[..], ID].concat()).to_vec();
            let masked = |mask: u8| key.iter().map(|k| k ^ mask).collect::<Vec<u8>>();
            let mut user = (0..20).fold(first, |data, mask| rc4(&masked(mask), &data));
            user.resize(32, 0);
            user
        };
        (key, format!("/O <{}> /U <{}>", hex(&owner), hex(&user)))
    }

    /// Key and entries of revisions 5 and 6 (algorithms 8 to 10).
    fn new_handler(way: Way, password: &[u8]) -> (Vec<u8>, String) {
        let key: Vec<u8> = (0..32u8).map(|i| i.wrapping_mul(37) ^ 0x5A).collect();
        let hash = |password: &[u8], salt: &[u8], user: &[u8]| hardened(way == Way::Aes256, password, salt, user);
        let entry = |password: &[u8], salts: [&[u8]; 2], user: &[u8]| {
            let word = [&hash(password, salts[0], user)[..], salts[0], salts[1]].concat();
            (word, cbc(&hash(password, salts[1], user), &[0; 16], &key))
        };
        let (user, user_key) = entry(password, [b"validate", b"keysalt1"], b"");
        let (owner, owner_key) = entry(b"somebody else", [b"validat2", b"keysalt2"], &user);
        let permissions = [&PERMISSIONS.to_le_bytes()[..], b"\xFF\xFF\xFF\xFFTadbrand"].concat();
        let permissions = cbc(&key, &[0; 16], &permissions);
        let words = [("O", owner), ("U", user), ("OE", owner_key), ("UE", user_key), ("Perms", permissions)];
        let words: Vec<String> = words.iter().map(|(name, word)| format!("/{name} <{}>", hex(word))).collect();
        (key, words.join(" "))
    }

    /// Bytes of a string or stream in the object of that number.
    pub fn seal(&self, object: u32, bytes: &[u8]) -> Vec<u8> {
        if self.way.revision() >= 5 {
            return padded_cbc(&self.key, object, bytes);
        }
        let salt: &[u8] = if self.way == Way::Aes128 { b"sAlT" } else { b"" };
        let own = md5(&[&self.key[..], &object.to_le_bytes()[..3], &[0, 0], salt].concat());
        let own = &own[..16.min(self.key.len() + 5)];
        if self.way == Way::Aes128 { padded_cbc(own, object, bytes) } else { rc4(own, bytes) }
    }

    /// A string as it stands in an object.
    pub fn string(&self, object: u32, text: &str) -> String {
        format!("<{}>", hex(&self.seal(object, text.as_bytes())))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02X}")).collect()
}

/// The hash of revision 5 (SHA-256), or of revision 6 (algorithm 2.B).
fn hardened(hard: bool, password: &[u8], salt: &[u8], user: &[u8]) -> Vec<u8> {
    let mut k = Sha256::digest([password, salt, user].concat()).to_vec();
    let (mut round, mut last) = (0u32, 0u32);
    while hard && (round < 64 || last + 32 > round) {
        let block = [password, &k, user].concat().repeat(64);
        let mut iv = [0; 16];
        iv.copy_from_slice(&k[16..32]);
        let e = cbc(&k[..16], &iv, &block);
        // 256 is 1 modulo 3, so the number is what its digits add up to.
        k = match e[..16].iter().map(|b| u32::from(*b)).sum::<u32>() % 3 {
            0 => Sha256::digest(&e).to_vec(),
            1 => Sha384::digest(&e).to_vec(),
            _ => Sha512::digest(&e).to_vec(),
        };
        last = e.last().map_or(0, |b| u32::from(*b));
        round += 1;
    }
    k.truncate(32);
    k
}

/// Rivest's stream cipher.
fn rc4(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut s: Vec<u8> = (0..=255).collect();
    let mut j = 0u8;
    for i in 0..256 {
        j = j.wrapping_add(s[i]).wrapping_add(key[i % key.len()]);
        s.swap(i, usize::from(j));
    }
    let (mut i, mut j) = (0u8, 0u8);
    let mut next = || {
        i = i.wrapping_add(1);
        j = j.wrapping_add(s[usize::from(i)]);
        s.swap(usize::from(i), usize::from(j));
        s[usize::from(s[usize::from(i)].wrapping_add(s[usize::from(j)]))]
    };
    data.iter().map(|b| b ^ next()).collect()
}

/// MD5 (RFC 1321).
fn md5(data: &[u8]) -> [u8; 16] {
    const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    let mut message = data.to_vec();
    message.push(0x80);
    message.resize(message.len().next_multiple_of(64), 0);
    if message.len() < data.len() + 9 {
        message.resize(message.len() + 64, 0);
    }
    let end = message.len() - 8;
    message[end..].copy_from_slice(&(8 * data.len() as u64).to_le_bytes());
    let mut state = [0x6745_2301u32, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476];
    for block in message.chunks_exact(64) {
        let word = |i: usize| u32::from_le_bytes([block[4 * i], block[4 * i + 1], block[4 * i + 2], block[4 * i + 3]]);
        let [mut a, mut b, mut c, mut d] = state;
        for i in 0..64 {
            let (mix, at) = match i / 16 {
                0 => (b & c | !b & d, i),
                1 => (d & b | !d & c, (5 * i + 1) % 16),
                2 => (b ^ c ^ d, (3 * i + 5) % 16),
                _ => (c ^ (b | !d), 7 * i % 16),
            };
            let constant = (f64::from(i as u32 + 1).sin().abs() * 4_294_967_296.0) as u32;
            let sum = a.wrapping_add(mix).wrapping_add(constant).wrapping_add(word(at));
            (a, d, c, b) = (d, c, b, b.wrapping_add(sum.rotate_left(SHIFTS[i / 16][i % 4])));
        }
        state = [state[0].wrapping_add(a), state[1].wrapping_add(b), state[2].wrapping_add(c), state[3].wrapping_add(d)];
    }
    let mut out = [0; 16];
    out.chunks_exact_mut(4).zip(state).for_each(|(bytes, word)| bytes.copy_from_slice(&word.to_le_bytes()));
    out
}

/// Twice a number of AES's field.
fn double(b: u8) -> u8 {
    b << 1 ^ if b & 0x80 == 0 { 0 } else { 0x1B }
}

/// AES's substitution: the inverse in its field, its bits mixed.
fn substitution() -> [u8; 256] {
    let mut table = [0x63; 256];
    let (mut p, mut q) = (1u8, 1u8);
    loop {
        // Threefold, and divided by three: each is the other's inverse.
        p ^= double(p);
        q ^= q << 1;
        q ^= q << 2;
        q ^= q << 4;
        q ^= if q & 0x80 == 0 { 0 } else { 0x09 };
        table[usize::from(p)] = q ^ q.rotate_left(1) ^ q.rotate_left(2) ^ q.rotate_left(3) ^ q.rotate_left(4) ^ 0x63;
        if p == 1 {
            return table;
        }
    }
}

/// AES (FIPS 197) with a key of 16 or 32 bytes, blocks chained; `data` is whole blocks.
fn cbc(key: &[u8], iv: &[u8; 16], data: &[u8]) -> Vec<u8> {
    let table = substitution();
    let (n, rounds) = (key.len() / 4, key.len() / 4 + 6);
    let mut words: Vec<[u8; 4]> = key.chunks_exact(4).map(|w| [w[0], w[1], w[2], w[3]]).collect();
    let mut factor = 1;
    for i in n..4 * (rounds + 1) {
        let mut word = words[i - 1];
        if i % n == 0 {
            word.rotate_left(1);
            word = word.map(|b| table[usize::from(b)]);
            word[0] ^= factor;
            factor = double(factor);
        } else if n > 6 && i % n == 4 {
            word = word.map(|b| table[usize::from(b)]);
        }
        let before = words[i - n];
        words.push([0, 1, 2, 3].map(|k| before[k] ^ word[k]));
    }
    let schedule = words.concat();
    let mut last = *iv;
    let mut out = Vec::with_capacity(data.len());
    for block in data.chunks_exact(16) {
        let mut s = last;
        s.iter_mut().zip(block).zip(&schedule).for_each(|((s, b), k)| *s ^= b ^ k);
        for round in 1..=rounds {
            let mut t = [0u8; 16];
            // Bytes stand in columns of four; row r moves r places.
            for (i, byte) in t.iter_mut().enumerate() {
                *byte = table[usize::from(s[(i + 4 * (i % 4)) % 16])];
            }
            if round < rounds {
                for column in t.chunks_exact_mut(4) {
                    let all = column.iter().fold(0, |x, b| x ^ b);
                    let given = [column[0], column[1], column[2], column[3]];
                    (0..4).for_each(|k| column[k] ^= all ^ double(given[k] ^ given[(k + 1) % 4]));
                }
            }
            s = t;
            s.iter_mut().zip(&schedule[16 * round..]).for_each(|(s, k)| *s ^= k);
        }
        out.extend(s);
        last = s;
    }
    out
}

/// As strings and streams are: a vector to begin with, then the padded bytes.
fn padded_cbc(key: &[u8], object: u32, bytes: &[u8]) -> Vec<u8> {
    let mut iv = *b"begins with this";
    iv[0] ^= object as u8;
    let pad = 16 - bytes.len() % 16;
    let padded = [bytes, &vec![pad as u8; pad]].concat();
    [&iv[..], &cbc(key, &iv, &padded)].concat()
}

#[test]
fn ciphers_are_the_standards() {
    assert_eq!(hex(&md5(b"message digest")), "F96B697D7CB7938D525A2F31AAF161D0", "RFC 1321");
    assert_eq!(hex(&md5(&[b'a'; 56])), "3B0C8AC703F828B04C6C197006D17218");
    assert_eq!(hex(&rc4(b"Key", b"Plaintext")), "BBF316E8D940AF0AD3");
    let block: Vec<u8> = (0..16).map(|i| i * 0x11).collect();
    let key: Vec<u8> = (0..32).collect();
    assert_eq!(hex(&cbc(&key[..16], &[0; 16], &block)), "69C4E0D86A7B0430D8CDB78070B4C55A", "FIPS 197, C.1");
    assert_eq!(hex(&cbc(&key, &[0; 16], &block)), "8EA2B7CA516745BFEAFC49904B496089", "FIPS 197, C.3");
}
