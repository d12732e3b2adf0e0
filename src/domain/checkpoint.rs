//! Checkpoints: what the chain was at a moment, signed, so that it can leave the machine. Whoever owns the database can write
//! the whole chain anew; he cannot write a checkpoint that somebody else holds.
//!
//! A checkpoint is one line of JSON with its keys in byte order and no spaces. Its signature (Ed25519) is over the same line
//! without the member `signature`, and `previous` is the SHA-256 of the whole line before it: `jq`, `sha256sum` and `openssl`
//! are enough to check both.

use std::collections::BTreeMap;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::chain::{GENESIS, Hash, canonical, fields};
use super::time::Instant;

/// What every checkpoint begins to say of itself.
pub const FORMAT: &str = "makegood.checkpoint/1";

/// What stands before the 32 bytes of an Ed25519 key in its usual wrapping (SubjectPublicKeyInfo).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Where one lane stood: its chain and its feed, and what the chained rows come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneMark {
    pub lane: i16,
    pub epoch: i32,
    /// The number of the last entry of the chain; 0 for none.
    pub chain_no: i64,
    #[serde(with = "hex::serde")]
    pub chain_hash: Hash,
    /// The position of the last item of the feed; 0 for none.
    pub feed_pos: i64,
    #[serde(with = "hex::serde")]
    pub feed_hash: Hash,
    #[serde(flatten)]
    pub totals: Totals,
}

impl LaneMark {
    /// Where a lane begins.
    pub fn beginning(lane: i16) -> Self {
        LaneMark {
            lane,
            epoch: 0,
            chain_no: 0,
            chain_hash: GENESIS,
            feed_pos: 0,
            feed_hash: GENESIS,
            totals: Totals::default(),
        }
    }

    fn leaf(&self) -> Hash {
        let encoded = fields(&[
            b"lane/1",
            &self.lane.to_be_bytes(),
            &self.epoch.to_be_bytes(),
            &self.chain_no.to_be_bytes(),
            &self.chain_hash,
            &self.feed_pos.to_be_bytes(),
            &self.feed_hash,
        ]);
        Sha256::new().chain_update([0]).chain_update(encoded).finalize().into()
    }
}

/// How many rows stand in a chain, and what its transfers come to in each currency.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub transfers: i64,
    pub audits: i64,
    /// Minor units by currency, as digits: they may be more than a program's integers hold.
    #[serde(with = "digits")]
    pub sums: BTreeMap<String, i128>,
}

/// One checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    pub format: String,
    /// Counts the checkpoints of a file from 1.
    pub no: i64,
    /// Real time.
    pub at: Instant,
    pub lanes: Vec<LaneMark>,
    /// The Merkle root over the lanes' heads: see [`root`].
    #[serde(with = "hex::serde")]
    pub root: Hash,
    /// The SHA-256 of the line before this one; zeros for the first.
    #[serde(with = "hex::serde")]
    pub previous: Hash,
    /// The id of the key that signed it.
    pub key: String,
}

/// The Merkle root over lane heads, in the order of the lanes: leaves and nodes are told apart by a first byte of 0 and 1, and
/// a list is split at the largest power of two below its length.
pub fn root(lanes: &[LaneMark]) -> Hash {
    fn of(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Sha256::new().finalize().into(),
            [leaf] => *leaf,
            more => {
                let middle = more.len().next_power_of_two() / 2;
                let (left, right) = more.split_at(middle);
                Sha256::new().chain_update([1]).chain_update(of(left)).chain_update(of(right)).finalize().into()
            }
        }
    }
    of(&lanes.iter().map(LaneMark::leaf).collect::<Vec<_>>())
}

/// Why a line is no checkpoint that can be relied on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotACheckpoint {
    #[error("it cannot be read as a checkpoint of makegood")]
    Unreadable,
    #[error("it was signed with the key {0}, and that key was not given")]
    OtherKey(String),
    #[error("its signature does not hold: somebody changed it, or signed it with another key of the same name")]
    Forged,
    #[error("its root is not the one of the lanes that it names")]
    OtherRoot,
}

/// A key that signs checkpoints.
pub struct SigningKey {
    pair: Ed25519KeyPair,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("key", &self.public().id()).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Reads a key in PKCS #8; none where it is no Ed25519 key.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Option<Self> {
        Some(SigningKey { pair: Ed25519KeyPair::from_pkcs8(pkcs8).ok()? })
    }

    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey(bytes)
    }

    /// The checkpoint as it is kept: one line, without its end.
    pub fn sign(&self, checkpoint: &Checkpoint) -> String {
        let mut value = serde_json::to_value(checkpoint).unwrap_or_default();
        let signature = STANDARD.encode(self.pair.sign(canonical(&value).as_bytes()).as_ref());
        if let Some(members) = value.as_object_mut() {
            members.insert("signature".to_owned(), Value::from(signature));
        }
        canonical(&value)
    }
}

/// What a checkpoint is checked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Reads a key as `openssl` writes it: `-----BEGIN PUBLIC KEY-----` and so on.
    pub fn from_pem(pem: &str) -> Option<Self> {
        let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
        let bytes = STANDARD.decode(base64).ok()?;
        let key: &[u8; 32] = bytes.strip_prefix(&SPKI)?.try_into().ok()?;
        Some(PublicKey(*key))
    }

    pub fn pem(&self) -> String {
        let base64 = STANDARD.encode([SPKI.as_slice(), &self.0].concat());
        format!("-----BEGIN PUBLIC KEY-----\n{base64}\n-----END PUBLIC KEY-----\n")
    }

    /// The first eight bytes of the key's SHA-256, in hexadecimal.
    pub fn id(&self) -> String {
        hex::encode(&Sha256::digest(self.0)[..8])
    }
}

/// Reads a line that one of `keys` signed.
pub fn read(line: &str, keys: &[PublicKey]) -> Result<Checkpoint, NotACheckpoint> {
    let mut value: Value = serde_json::from_str(line).map_err(|_| NotACheckpoint::Unreadable)?;
    let signature = value.as_object_mut().and_then(|members| members.remove("signature"));
    let signed = canonical(&value);
    let checkpoint: Checkpoint = serde_json::from_value(value).map_err(|_| NotACheckpoint::Unreadable)?;
    let signature = signature.as_ref().and_then(Value::as_str).and_then(|text| STANDARD.decode(text).ok());
    let (Some(signature), FORMAT) = (signature, checkpoint.format.as_str()) else {
        return Err(NotACheckpoint::Unreadable);
    };
    let Some(key) = keys.iter().find(|key| key.id() == checkpoint.key) else {
        return Err(NotACheckpoint::OtherKey(checkpoint.key));
    };
    let verified = UnparsedPublicKey::new(&ED25519, key.0).verify(signed.as_bytes(), &signature);
    verified.map_err(|_| NotACheckpoint::Forged)?;
    if root(&checkpoint.lanes) == checkpoint.root { Ok(checkpoint) } else { Err(NotACheckpoint::OtherRoot) }
}

/// The hash by which the next line names this one.
pub fn line_hash(line: &str) -> Hash {
    Sha256::digest(line).into()
}

/// The checkpoints of a file, or the first line that is wrong, with its number and what is wrong with it. A file may begin in the
/// middle of what was kept: somebody may hold the last lines only.
pub fn read_all<'a>(
    lines: impl IntoIterator<Item = &'a str>,
    keys: &[PublicKey],
) -> Result<Vec<Checkpoint>, (usize, String)> {
    let (mut all, mut before): (Vec<Checkpoint>, Option<Hash>) = (Vec::new(), None);
    for (index, line) in lines.into_iter().enumerate() {
        let checkpoint = read(line, keys).map_err(|why| (index + 1, why.to_string()))?;
        let last = all.last();
        let is_next = last.is_none_or(|last| last.no + 1 == checkpoint.no)
            && before.is_none_or(|hash| hash == checkpoint.previous)
            && last.is_none_or(|last| follows(last, &checkpoint));
        if !is_next {
            return Err((
                index + 1,
                "it does not follow from the line before it: a line was taken out or put in".into(),
            ));
        }
        before = Some(line_hash(line));
        all.push(checkpoint);
    }
    Ok(all)
}

/// Whether no lane of `after` stands before where it stood in `before`.
pub fn follows(before: &Checkpoint, after: &Checkpoint) -> bool {
    before.lanes.iter().all(|mark| {
        let now = after.lanes.iter().find(|now| now.lane == mark.lane);
        now.is_some_and(|now| now.chain_no >= mark.chain_no && now.feed_pos >= mark.feed_pos && now.epoch >= mark.epoch)
    })
}

mod digits {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub fn serialize<S: Serializer>(sums: &BTreeMap<String, i128>, to: S) -> Result<S::Ok, S::Error> {
        sums.iter().map(|(code, sum)| (code, sum.to_string())).collect::<BTreeMap<_, _>>().serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, i128>, D::Error> {
        BTreeMap::<String, String>::deserialize(from)?
            .into_iter()
            .map(|(code, sum)| Ok((code, sum.parse().map_err(|_| D::Error::custom("a sum is not digits"))?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first key of RFC 8032's test vectors.
    fn key() -> SigningKey {
        let seed = hex::decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let head = hex::decode("302e020100300506032b657004220420").unwrap();
        SigningKey::from_pkcs8(&[head, seed].concat()).unwrap()
    }

    fn checkpoint(no: i64, previous: Hash) -> Checkpoint {
        let lanes = vec![LaneMark {
            epoch: 1,
            chain_no: no * 10,
            chain_hash: [7; 32],
            feed_pos: no,
            feed_hash: [8; 32],
            totals: Totals { transfers: 6, audits: 4, sums: [("NZD".to_owned(), 2_174)].into() },
            ..LaneMark::beginning(0)
        }];
        let at = Instant::parse("2026-11-03T20:00:00Z").unwrap();
        Checkpoint { format: FORMAT.to_owned(), no, at, root: root(&lanes), lanes, previous, key: key().public().id() }
    }

    #[test]
    fn a_line_is_read_back_and_no_byte_of_it_can_be_another() {
        let (key, one) = (key(), checkpoint(1, GENESIS));
        let line = key.sign(&one);
        let keys = [key.public()];
        assert_eq!(read(&line, &keys), Ok(one));
        for at in 0..line.len() {
            let mut bytes = line.clone().into_bytes();
            bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(read(&changed, &keys).is_err(), "{at}: {changed}");
        }
        assert_eq!(read(&line, &[]), Err(NotACheckpoint::OtherKey(keys[0].id())));
    }

    #[test]
    fn lines_follow_each_other_and_none_can_be_taken_out() {
        let (key, mut lines, mut previous) = (key(), Vec::new(), GENESIS);
        for no in 1..=4 {
            let line = key.sign(&checkpoint(no, previous));
            previous = line_hash(&line);
            lines.push(line);
        }
        let keys = [key.public()];
        let all = |lines: &[&String]| read_all(lines.iter().map(|line| line.as_str()), &keys);
        let [a, b, c, d] = &lines[..] else { panic!() };
        assert_eq!(all(&[a, b, c, d]).unwrap().len(), 4);
        assert_eq!(all(&[c, d]).unwrap().len(), 2, "the last lines alone are enough");
        assert_eq!(all(&[a, c, d]).unwrap_err().0, 2);
        assert_eq!(all(&[a, b, b]).unwrap_err().0, 3);
        assert_eq!(all(&[b, a]).unwrap_err().0, 2);
    }

    #[test]
    fn the_root_is_over_every_lane_in_order() {
        let lane = |lane, chain_no| LaneMark { chain_no, ..LaneMark::beginning(lane) };
        let of = |lanes: &[LaneMark]| root(lanes);
        let lanes: Vec<_> = (0..5).map(|index| lane(index, 10)).collect();
        let whole = of(&lanes);
        for index in 0..5 {
            let mut other = lanes.clone();
            other[index].chain_no += 1;
            assert_ne!(of(&other), whole, "lane {index}");
        }
        assert_ne!(of(&lanes[..4]), whole);
        assert_eq!(hex::encode(whole), GOLDEN_ROOT);
        assert_eq!(PublicKey::from_pem(&key().public().pem()), Some(key().public()));
        let rfc = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(hex::encode(key().public().0), rfc);
    }

    /// Computed by another program from the description above.
    const GOLDEN_ROOT: &str = "70ce570d4f78084617fcf707a185d46e4360bd26ba9ca6446619a7b32880d9df";
}
