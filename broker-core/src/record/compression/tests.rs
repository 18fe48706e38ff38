use proptest::prelude::*;

use super::codec::Failure;
use super::{Codec, CodecError, Compression, snappy};

fn built() -> impl Iterator<Item = Codec> {
    Codec::ALL.into_iter().filter(|codec| codec.is_built())
}

fn pack(compression: Compression, records: &[u8]) -> Vec<u8> {
    let mut out = b"front".to_vec();
    assert!(compression.compress(records, &mut out));
    assert!(out.starts_with(b"front"), "{compression:?} writes behind what is there");
    out.split_off(5)
}

fn unpack(codec: Codec, block: &[u8], limit: usize) -> Result<Vec<u8>, CodecError> {
    let mut out = b"front".to_vec();
    codec.decompress(block, limit, &mut out)?;
    assert!(out.starts_with(b"front"), "{codec} writes behind what is there");
    Ok(out.split_off(5))
}

#[test]
fn numbers_and_names_are_kafkas() {
    let all: Vec<_> = Codec::ALL.iter().map(|codec| (codec.id(), codec.name())).collect();
    assert_eq!(all, [(0, "none"), (1, "gzip"), (2, "snappy"), (3, "lz4"), (4, "zstd")]);
    for id in [-1, 5, 6, 7] {
        assert_eq!(Codec::of(id), Err(CodecError::Unknown(id)));
    }
}

#[test]
fn a_codec_that_is_off_is_refused_by_name() {
    for codec in Codec::ALL.into_iter().filter(|codec| !codec.is_built()) {
        assert_eq!(Compression::new(codec), Err(CodecError::NotBuilt(codec)));
        let said = unpack(codec, b"x", 10).expect_err("off").to_string();
        assert_eq!(said, format!("compression with {codec} is not built: turn on the cargo feature '{codec}'"));
    }
}

#[test]
fn each_level_packs_what_unpacks_to_the_same() {
    let records: Vec<u8> = (0..200_000u32).flat_map(|n| (n / 7 % 251).to_le_bytes()).collect();
    for codec in built() {
        let compression = Compression::new(codec).expect("built");
        let plain = pack(compression, &records);
        assert_eq!(unpack(codec, &plain, records.len()).as_deref(), Ok(&records[..]), "{codec}");
        assert!(codec == Codec::None || plain.len() < records.len() / 2, "{codec}: {} bytes", plain.len());
        let Some((least, most, default)) = codec.levels() else { continue };
        for level in [least, most, default] {
            let block = pack(compression.with_level(level).expect("a level"), &records);
            assert_eq!(unpack(codec, &block, records.len()).as_deref(), Ok(&records[..]), "{codec} at {level}");
        }
        let said = compression.with_level(most + 1).expect_err("no level");
        assert_eq!(said, CodecError::Level { codec, level: most + 1, least, most });
    }
}

#[test]
fn what_is_over_the_limit_is_refused() {
    let zeros = vec![0; 10 << 20];
    for codec in built() {
        let block = pack(Compression::new(codec).expect("built"), &zeros);
        assert_eq!(unpack(codec, &block, zeros.len()).map(|out| out.len()), Ok(zeros.len()), "{codec}: at the limit");
        let limit = zeros.len() - 1;
        assert_eq!(unpack(codec, &block, limit), Err(CodecError::TooLarge { codec, limit }), "{codec}");
        assert_eq!(unpack(codec, &block, 0), Err(CodecError::TooLarge { codec, limit: 0 }), "{codec}");
    }
}

#[test]
fn a_size_that_a_block_only_claims_is_not_allocated() {
    // Snappy: a length of 100 MB, then nothing much.
    if snappy::BUILT {
        let claimed = [&[0x80, 0xc2, 0xd7, 0x2f][..], &[0; 16]].concat();
        let mut out = Vec::new();
        assert_eq!(snappy::decompress(&claimed, 1 << 30, &mut out), Err(Failure::Damaged));
        assert_eq!(out.capacity(), 0);
    }
    // zstd: a frame that claims a content of 100 MB and a window as large, and one raw block of a byte.
    if Codec::Zstd.is_built() {
        let claimed = [0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0xe1, 0xf5, 0x05, 0x09, 0, 0, b'x'];
        let mut out = Vec::new();
        let _ = Codec::Zstd.decompress(&claimed, 1 << 30, &mut out).expect_err("damaged");
        assert!(out.capacity() < 10_000, "{} bytes", out.capacity());
    }
}

#[test]
fn snappy_reads_a_bare_block_too() {
    if !snappy::BUILT {
        return;
    }
    // Five literal bytes.
    assert_eq!(unpack(Codec::Snappy, &[5, 0x10, b'h', b'e', b'l', b'l', b'o'], 10).as_deref(), Ok(&b"hello"[..]));
    let framed = pack(Compression::new(Codec::Snappy).expect("built"), &[7; 100_000]);
    assert_eq!(framed[..16], *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
    let first = u32::from_be_bytes(framed[16..20].try_into().expect("four")) as usize;
    assert_eq!(unpack(Codec::Snappy, &framed[20..20 + first], 32 * 1024).map(|out| out.len()), Ok(32 * 1024));
}

#[test]
fn lz4_blocks_that_need_one_another_are_refused() {
    if !Codec::Lz4.is_built() {
        return;
    }
    // A frame of one stored block: its blocks stand for themselves, or need one another.
    for (flags, check, expected) in [(0x60, 0x82, Ok(b"x".to_vec())), (0x40, 0xc0, Err(CodecError::Damaged(Codec::Lz4)))] {
        let frame = [0x04, 0x22, 0x4d, 0x18, flags, 0x40, check, 1, 0, 0, 0x80, b'x', 0, 0, 0, 0];
        assert_eq!(unpack(Codec::Lz4, &frame, 10), expected);
    }
}

#[test]
fn lz4_headers_are_checked() {
    if !Codec::Lz4.is_built() {
        return;
    }
    // A stored block of a byte: in blocks of 4 MiB, with a wrong checksum, with a wrong magic, in the format before frames.
    for (header, sound) in [
        (&[0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73][..], true),
        (&[0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x74], false),
        (&[0x05, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73], false),
        (&[0x04, 0x22, 0x4d, 0x18, 0x60, 0x30, 0x73], false),
        (&[0x02, 0x21, 0x4c, 0x18, 0x20, 0, 0, 0], false),
        (&[0x04, 0x22, 0x4d, 0x18, 0x68, 0x70], false),
        (&[0x04, 0x22, 0x4d, 0x18], false),
        (&[], false),
    ] {
        let frame = [header, &[1, 0, 0, 0x80, b'x', 0, 0, 0, 0]].concat();
        let expected = if sound { Ok(b"x".to_vec()) } else { Err(CodecError::Damaged(Codec::Lz4)) };
        assert_eq!(unpack(Codec::Lz4, &frame, 10), expected, "{header:x?}");
    }
}

#[test]
fn gzip_reads_members_one_behind_the_other() {
    if !Codec::Gzip.is_built() {
        return;
    }
    let gzip = Compression::new(Codec::Gzip).expect("built");
    let both = [pack(gzip, b"one"), pack(gzip, b"two")].concat();
    assert_eq!(unpack(Codec::Gzip, &both, 6).as_deref(), Ok(&b"onetwo"[..]));
}

proptest! {
    #[test]
    fn what_is_packed_is_unpacked(records in proptest::collection::vec(0u8..4, 1..5000)) {
        for codec in built() {
            let block = pack(Compression::new(codec).expect("built"), &records);
            prop_assert_eq!(unpack(codec, &block, records.len()), Ok(records.clone()));
        }
    }

    #[test]
    fn damaged_blocks_never_panic(records in proptest::collection::vec(0u8..9, 1..500), bit: prop::sample::Index, cut: prop::sample::Index) {
        for codec in built() {
            let mut block = pack(Compression::new(codec).expect("built"), &records);
            let bit = bit.index(8 * block.len());
            block[bit / 8] ^= 1 << (bit % 8);
            let _ = unpack(codec, &block, 1 << 20);
            let _ = unpack(codec, &block[..cut.index(block.len())], 1 << 20);
        }
    }
}
