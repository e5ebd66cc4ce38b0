//! safetensors against Hugging Face's own crate, both ways; shards; atomic writing; messages.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use containers::save::{LazyTensor, write_safetensors, write_sharded};
use containers::{BoxError, DType, Error, SafetensorsFile, ShardedSafetensors, TensorSource};
use safetensors::SafeTensors;

fn none() -> BTreeMap<String, String> {
    BTreeMap::new()
}

fn files_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A file of `header` and `data` as they are, however wrong.
fn raw(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

fn message(bytes: Vec<u8>) -> String {
    SafetensorsFile::from_bytes("bad.safetensors", bytes).unwrap_err().to_string()
}

#[test]
fn what_we_write_the_reference_crate_reads() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.safetensors");
    let x: Vec<f32> = (0..6).map(|i| i as f32 * 0.5 - 1.0).collect();
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned()), ("名".to_owned(), "值 \"quoted\"\n".to_owned())]);
    let tensors = vec![
        LazyTensor::new("bytes", DType::U8, [3], || Ok::<_, BoxError>(vec![1, 2, 3])),
        LazyTensor::from_f32("层.half", DType::F16, [2, 3], &x),
        LazyTensor::from_f32("single", DType::F32, [3, 2], &x),
        LazyTensor::encoded("brain", DType::BF16, [6], || Ok::<_, BoxError>(x.clone())),
        LazyTensor::from_f32("scalar", DType::F32, [], &x[..1]),
        LazyTensor::from_f32("empty", DType::F32, [0, 4], &[]),
    ];
    write_safetensors(&path, &metadata, tensors).unwrap();

    let bytes = fs::read(&path).unwrap();
    let reference = SafeTensors::deserialize(&bytes).unwrap();
    let (length, header) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!((length + 8) % 8, 0, "data begin aligned");
    assert_eq!(header.metadata().as_ref().unwrap()["名"], metadata["名"]);
    let ours = SafetensorsFile::open(&path).unwrap();
    assert_eq!(ours.metadata(), &metadata);
    assert_eq!(reference.len(), ours.names().len());
    for view in ours.tensors() {
        let theirs = reference.tensor(view.name).unwrap();
        assert_eq!((theirs.shape(), theirs.data()), (view.shape, view.data), "{}", view.name);
        assert_eq!(theirs.dtype().to_string(), view.dtype.name());
        let offset = view.data.as_ptr() as usize - ours.require("single").unwrap().data.as_ptr() as usize;
        assert!(offset.is_multiple_of(view.dtype.block_bytes()), "{} is aligned", view.name);
    }
    assert_eq!(ours.require("层.half").unwrap().to_f32().unwrap(), x);
    assert_eq!(ours.require("scalar").unwrap().rows_cols(), (1, 1));
}

#[test]
fn what_the_reference_crate_writes_we_read() {
    use safetensors::tensor::{Dtype, TensorView};
    let x = 1.5f32.to_le_bytes();
    for theirs in [Dtype::BOOL, Dtype::U8, Dtype::I8, Dtype::F8_E5M2, Dtype::F8_E4M3, Dtype::F8_E8M0, Dtype::I16, Dtype::U16] {
        check(theirs, &x);
    }
    for theirs in [Dtype::F16, Dtype::BF16, Dtype::I32, Dtype::U32, Dtype::F32] {
        check(theirs, &x);
    }
    for theirs in [Dtype::F64, Dtype::I64, Dtype::U64] {
        check(theirs, &[x, x].concat());
    }

    fn check(theirs: Dtype, data: &[u8]) {
        let n = data.len() / (theirs.bitsize() / 8);
        let view = TensorView::new(theirs, vec![n], data).unwrap();
        let bytes = safetensors::serialize([("t", &view)], None).unwrap();
        let ours = SafetensorsFile::from_bytes("t", bytes).unwrap();
        let t = ours.require("t").unwrap();
        assert_eq!((t.dtype.name(), t.shape, t.data), (theirs.to_string().as_str(), [n].as_slice(), data));
    }
}

#[test]
fn damaged_headers_are_named() {
    let t = |offsets: &str| format!(r#"{{"w":{{"dtype":"F32","shape":[2],"data_offsets":{offsets}}}}}"#);
    for (bytes, expected) in [
        (vec![], "the file has 0 bytes"),
        (vec![9; 7], "the file has 7 bytes"),
        (u64::MAX.to_le_bytes().to_vec(), "more than the 100000000 allowed"),
        (raw("{}", &[])[..9].to_vec(), "it claims 2 bytes, the file has 1"),
        (raw("nonsense", &[]), "expected"),
        (raw("[]", &[]), "an object of tensors"),
        (raw(&t("[0,8]"), &[0; 7]), "tensor `w`: its data end at 8, the file's at 7"),
        (raw(&t("[0,8]"), &[0; 9]), "the tensors take 8 bytes, the file has 9"),
        (raw(&t("[4,12]"), &[0; 12]), "tensor `w`: its data leaves a gap"),
        (raw(&t("[0,4]"), &[0; 4]), "tensor `w`: bytes 0..4 do not hold shape [2] of F32"),
        (raw(&t("[8,0]"), &[0; 8]), "bytes 8..0 do not hold"),
        (raw(&t("[0,-8]"), &[0; 8]), "tensor `w`: invalid value"),
        (raw(r#"{"w":{"dtype":"F32","shape":[18446744073709551615,2],"data_offsets":[0,0]}}"#, &[]), "do not hold shape"),
        (raw(r#"{"w":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,18446744073709551615]}}"#, &[]), "its data end at"),
        (raw(r#"{"w":{"dtype":"Q4_0","shape":[0],"data_offsets":[0,0]}}"#, &[]), "element type `Q4_0`, which is not known"),
        (
            raw(r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#, &[0; 3]),
            "tensor `b`: its data overlaps",
        ),
        (
            raw(r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, &[0; 1]),
            "`a` is there twice",
        ),
        (b"<!DOCTYPE html><html></html>".to_vec(), "not a safetensors file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0".to_vec(), "Git LFS pointer"),
    ] {
        let message = message(bytes);
        assert!(message.starts_with("bad.safetensors: ") && message.contains(expected), "{message}\nlacks: {expected}");
    }
}

#[test]
fn shards_are_split_indexed_and_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let x: Vec<f32> = (0..40).map(|i| i as f32).collect();
    let tensors = || (0..5).map(|i| LazyTensor::from_f32(format!("t{i}"), DType::F32, [2, 4], &x[8 * i..8 * i + 8]));
    // 32 bytes a tensor: two fit into 70.
    let files = write_sharded(dir.path(), &none(), tensors(), 70).unwrap();
    let names: Vec<_> = files.iter().map(|f| f.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "model-00001-of-00003.safetensors",
            "model-00002-of-00003.safetensors",
            "model-00003-of-00003.safetensors",
            "model.safetensors.index.json"
        ]
    );
    let index: serde_json::Value = serde_json::from_slice(&fs::read(&files[3]).unwrap()).unwrap();
    assert_eq!(index["metadata"]["total_size"], 160);
    assert_eq!(index["metadata"]["total_parameters"], 40);
    assert_eq!(index["weight_map"]["t4"], "model-00003-of-00003.safetensors");

    let opened = ShardedSafetensors::open_dir(dir.path()).unwrap();
    assert_eq!(opened.names(), ["t0", "t1", "t2", "t3", "t4"]);
    assert_eq!(opened.files(), files[..3]);
    for i in 0..5 {
        assert_eq!(opened.require(&format!("t{i}")).unwrap().to_f32().unwrap(), x[8 * i..8 * i + 8]);
    }
    drop(opened);

    // Written again unsharded: nothing of the old model stays, other files do.
    fs::write(dir.path().join("config.json"), "{}").unwrap();
    fs::write(dir.path().join("model-card.safetensors"), "mine").unwrap();
    write_sharded(dir.path(), &none(), tensors(), 1 << 30).unwrap();
    assert_eq!(files_in(dir.path()), ["config.json", "model-card.safetensors", "model.safetensors"]);
    assert_eq!(ShardedSafetensors::open_dir(dir.path()).unwrap().names().len(), 5);
    // And sharded again, every tensor larger than the limit: one each.
    assert_eq!(write_sharded(dir.path(), &none(), tensors(), 1).unwrap().len(), 6);
    assert_eq!(ShardedSafetensors::open_dir(dir.path()).unwrap().names().len(), 5);
    assert!(!dir.path().join("model.safetensors").exists());
}

#[test]
fn a_write_that_ends_halfway_never_mixes_two_models() {
    let dir = tempfile::tempdir().unwrap();
    let tensors = |value: &'static [f32; 2]| {
        let second =
            LazyTensor::encoded(
                "b",
                DType::F32,
                [1],
                move || {
                    if value[0] == 1.0 { Ok(value[1..].to_vec()) } else { Err("the disk is full") }
                },
            );
        [LazyTensor::from_f32("a", DType::F32, [1], &value[..1]), second]
    };
    write_sharded(dir.path(), &none(), tensors(&[1.0, 1.0]), 4).unwrap();
    assert!(ShardedSafetensors::open_dir(dir.path()).is_ok());
    write_sharded(dir.path(), &none(), tensors(&[2.0, 2.0]), 4).unwrap_err();
    let e = ShardedSafetensors::open_dir(dir.path()).unwrap_err();
    assert!(matches!(e, Error::NoWeights { .. }), "{e}");

    // A complete unsharded model, on the other hand, stays what it was.
    write_sharded(dir.path(), &none(), tensors(&[1.0, 1.0]), 8).unwrap();
    write_sharded(dir.path(), &none(), tensors(&[2.0, 2.0]), 4).unwrap_err();
    let old = ShardedSafetensors::open_dir(dir.path()).unwrap();
    assert_eq!(old.require("a").unwrap().to_f32().unwrap(), [1.0]);
}

#[test]
fn incomplete_directories_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let open = || ShardedSafetensors::open_dir(dir.path()).unwrap_err().to_string();
    assert!(open().contains("no model.safetensors"), "{}", open());
    fs::write(dir.path().join("pytorch_model.bin"), "").unwrap();
    assert!(open().contains("but `pytorch_model.bin`; convert it"), "{}", open());
    fs::write(dir.path().join("m.Q4_1.gguf"), "").unwrap();
    assert!(open().contains("give the path of that file"), "{}", open());
    let missing = ShardedSafetensors::open_dir(dir.path().join("none")).unwrap_err().to_string();
    assert!(missing.contains("there is no such directory"), "{missing}");

    let tensors = (0..3).map(|i| LazyTensor::from_f32(format!("l.{i}.w"), DType::F32, [1], &[0.0]));
    let files = write_sharded(dir.path(), &none(), tensors, 4).unwrap();
    let index = fs::read_to_string(&files[3]).unwrap();
    fs::write(&files[3], index.replace("l.1.w", "x.1.w")).unwrap();
    let e = open();
    assert!(e.contains("model-00002-of-00003.safetensors: there is no tensor `x.1.w`; there is `l.1.w`"), "{e}");
    fs::write(&files[3], index.replace("model-00002-of-00003.safetensors", "../secret.safetensors")).unwrap();
    assert!(open().contains("`../secret.safetensors` is not a file name"), "{}", open());
    fs::write(&files[3], &index[..index.len() / 2]).unwrap();
    assert!(open().contains("index: EOF"), "{}", open());
    fs::write(&files[3], &index).unwrap();
    fs::remove_file(&files[1]).unwrap();
    let e = open();
    assert!(e.contains("shard `model-00002-of-00003.safetensors` is missing: 1 tensors (`l.1.w`"), "{e}");
}

#[test]
fn a_failed_write_leaves_the_old_file_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("w.safetensors");
    write_safetensors(&path, &none(), [LazyTensor::from_f32("a", DType::F32, [1], &[1.0])]).unwrap();
    let before = fs::read(&path).unwrap();
    let good = || LazyTensor::from_f32("a", DType::F32, [2], &[2.0, 3.0]);

    let failing = LazyTensor::new("b", DType::F32, [1], || Err::<Vec<u8>, _>("the source went away"));
    let e = write_safetensors(&path, &none(), [good(), failing]).unwrap_err();
    assert!(matches!(&e, Error::Produce { name, .. } if name == "b") && e.to_string().contains("went away"), "{e}");

    let short = LazyTensor::new("b", DType::F32, [2], || Ok::<_, BoxError>(vec![0; 7]));
    let e = write_safetensors(&path, &none(), [good(), short]).unwrap_err().to_string();
    assert!(e.contains("7 bytes were produced for shape [2] of F32, which takes 8"), "{e}");

    let e = write_safetensors(&path, &none(), [good(), good()]).unwrap_err().to_string();
    assert!(e.contains("`a`: is to be written twice"), "{e}");
    let e = write_safetensors(&path, &none(), [LazyTensor::from_f32("q", DType::Q8_0, [32], &[0.0; 32])]).unwrap_err().to_string();
    assert!(e.contains("safetensors has no Q8_0"), "{e}");
    let e = write_safetensors(&path, &none(), [LazyTensor::from_f32("h", DType::F16, [1], &[1e9])]).unwrap_err().to_string();
    assert!(e.contains("value 1000000000 at position 0 does not fit"), "{e}");
    let huge = LazyTensor::new("h", DType::F32, [usize::MAX, 2], || Ok::<_, BoxError>(vec![]));
    assert!(matches!(write_safetensors(&path, &none(), [huge]), Err(Error::Unwritable { .. })));

    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(files_in(dir.path()), ["w.safetensors"]);
    let e = write_safetensors(dir.path().join("no/such.safetensors"), &none(), [good()]).unwrap_err();
    assert!(matches!(e, Error::Io { action: "write", .. }), "{e}");
}

#[test]
fn tensors_go_to_the_disk_one_at_a_time() {
    const SIZE: usize = 1 << 20; // beyond any buffer
    let dir = tempfile::tempdir().unwrap();
    let (path, root) = (dir.path().join("t.safetensors"), dir.path());
    let tensors = (0..4usize).map(|i| {
        LazyTensor::new(format!("t{i}"), DType::U8, [SIZE], move || {
            // When tensor i is asked for, those before it have left memory, and the destination does not exist yet.
            let names = files_in(root);
            assert!(names.len() == 1 && names[0] != "t.safetensors", "{names:?}");
            assert!(fs::metadata(root.join(&names[0])).unwrap().len() >= (i * SIZE) as u64);
            Ok::<_, BoxError>(vec![i as u8; SIZE])
        })
    });
    write_safetensors(&path, &none(), tensors).unwrap();
    assert_eq!(files_in(root), ["t.safetensors"]);
    assert_eq!(SafetensorsFile::open(&path).unwrap().require("t3").unwrap().data, [3; SIZE]);
}
