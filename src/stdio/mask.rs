pub(super) struct Mask;
impl Mask {
    pub(super) fn of<'a>(_: impl Iterator<Item = &'a [u8]>) -> Self {
        Self
    }
}
