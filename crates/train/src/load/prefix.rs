//! Rows read back from the file of frozen layers' results.

use std::io::{Read, Seek, SeekFrom};

use crate::save::prefix::{PrefixFile, check};

/// Reads a row into `numbers`; false if it is not there.
///
/// # Errors
/// Says what is wrong with it: unreadable, or not what was written. It is then forgotten.
pub(crate) fn row(from: &mut PrefixFile, row: usize, numbers: &mut Vec<u16>) -> Result<bool, String> {
    if from.table[row] == [0; 32] {
        return Ok(false);
    }
    let wanted = std::mem::take(&mut from.table[row]);
    let mut bytes = vec![0; (from.offsets[row + 1] - from.offsets[row]) as usize];
    let mut read = || {
        from.file.seek(SeekFrom::Start(from.offsets[row]))?;
        from.file.read_exact(&mut bytes)
    };
    read().map_err(|error: std::io::Error| format!("cannot be read from {} ({error})", from.path.display()))?;
    if check(row, &bytes) != wanted {
        return Err(format!("is damaged in {}", from.path.display()));
    }
    from.table[row] = wanted;
    numbers.clear();
    numbers.extend(bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])));
    Ok(true)
}
