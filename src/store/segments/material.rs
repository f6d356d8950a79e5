//! How a segment file says under which key a column is sealed: the `PKMT1` JSON that PyArrow and Spark read.
//!
//! It holds the wrapped data key and the name of the key that wraps it, never a key in the clear. Bound: about 200
//! bytes per sealed column.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

/// A wrapped data key and what opens it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Material {
    /// `<class>/<day>#<generation>`.
    pub(super) key: String,
    /// nonce ‖ ciphertext ‖ tag.
    pub(super) wrapped: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Json {
    key_material_type: String,
    internal_storage: bool,
    is_footer_key: bool,
    #[serde(rename = "kmsInstanceID", skip_serializing_if = "Option::is_none", default)]
    kms_instance_id: Option<String>,
    #[serde(rename = "kmsInstanceURL", skip_serializing_if = "Option::is_none", default)]
    kms_instance_url: Option<String>,
    #[serde(rename = "masterKeyID")]
    master_key_id: String,
    #[serde(rename = "wrappedDEK")]
    wrapped_dek: String,
    double_wrapping: bool,
}

impl Material {
    /// The bytes for the file; the footer's also name the key store, as readers expect.
    pub(super) fn encode(&self, footer: bool) -> Vec<u8> {
        let json = Json {
            key_material_type: TYPE.to_owned(),
            internal_storage: true,
            is_footer_key: footer,
            kms_instance_id: footer.then(|| "kelisim".to_owned()),
            kms_instance_url: footer.then(|| "local".to_owned()),
            master_key_id: self.key.clone(),
            wrapped_dek: BASE64_STANDARD.encode(&self.wrapped),
            double_wrapping: false,
        };
        // A struct of texts and flags always serialises.
        serde_json::to_vec(&json).unwrap_or_default()
    }

    /// What a file says; `None` when it is not of this kind.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let json: Json = serde_json::from_slice(bytes).ok()?;
        let usual = json.key_material_type == TYPE && json.internal_storage && !json.double_wrapping;
        let wrapped = BASE64_STANDARD.decode(json.wrapped_dek).ok()?;
        usual.then_some(Self { key: json.master_key_id, wrapped })
    }
}

const TYPE: &str = "PKMT1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_material_reads_as_other_tools_write_it() {
        let material = Material { key: "sec/2026-11-22#0".to_owned(), wrapped: vec![1, 2, 3] };
        let text = String::from_utf8(material.encode(false)).expect("UTF-8");
        assert_eq!(
            text,
            r#"{"keyMaterialType":"PKMT1","internalStorage":true,"isFooterKey":false,"masterKeyID":"sec/2026-11-22#0","wrappedDEK":"AQID","doubleWrapping":false}"#
        );
        assert_eq!(Material::decode(text.as_bytes()), Some(material));
        assert_eq!(Material::decode(text.replace("PKMT1", "PKMT2").as_bytes()), None);
    }
}
