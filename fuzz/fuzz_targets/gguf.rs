//! Any bytes as a gguf file: an error or tensors that decode, never a panic and never more memory than the file explains.
#![no_main]

use containers::GgufFile;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = GgufFile::from_bytes("fuzz", bytes.to_vec()) else { return };
    for view in file.tensors() {
        assert_eq!(view.dtype.bytes_for(view.numel()), Some(view.data.len()));
        let _ = view.to_f32();
    }
});
