//! Which script a character belongs to, as far as joining and cutting text must know.

/// Whether words of this script are written without spaces: Han, kana, Bopomofo, CJK punctuation and full-width forms (not Hangul,
/// which has spaces).
pub fn is_cjk(c: char) -> bool {
    matches!(
        u32::from(c),
        0x2E80..=0x2FDF | 0x3001..=0x303F | 0x3040..=0x312F | 0x31A0..=0x31BF | 0x31F0..=0x31FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF
        | 0xF900..=0xFAFF | 0xFE30..=0xFE4F | 0xFF01..=0xFF60 | 0xFFE0..=0xFFE6 | 0x20000..=0x3FFFF
    )
}

/// Whether this is a Han character.
pub fn is_han(c: char) -> bool {
    matches!(u32::from(c), 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x3FFFF | 0x3005 | 0x3007)
}

/// Ends a sentence in English or Chinese.
pub fn ends_sentence(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | '。' | '！' | '？' | '；' | '…')
}

/// Closes what was open, so a sentence's end may stand before it.
pub fn closes(c: char) -> bool {
    matches!(c, ')' | ']' | '"' | '\'' | '”' | '’' | '）' | '」' | '』' | '》' | '】')
}

/// Share of Han and kana among letters, 0 to 1; `None` without letters.
pub fn cjk_share(text: &str) -> Option<f32> {
    let (mut cjk, mut letters) = (0usize, 0usize);
    for c in text.chars().filter(|c| c.is_alphabetic()) {
        letters += 1;
        cjk += usize::from(is_cjk(c));
    }
    (letters > 0).then(|| cjk as f32 / letters as f32)
}
