use super::mask::Mask;
use std::time::Instant;
pub(super) struct Whose {
    pub(super) server: String,
    pub(super) user: String,
    pub(super) profile: String,
}
pub(super) struct Words(Vec<u8>);
impl Words {
    pub(super) fn new(_: Mask, _: Whose) -> Self {
        Self(Vec::new())
    }
    pub(super) fn push(&mut self, bytes: &[u8], _: Instant) {
        self.0.extend_from_slice(bytes);
    }
    pub(super) fn tail(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}
