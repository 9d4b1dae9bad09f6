//! Reading a body whole, within the budget.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::{Budget, Held};
use crate::rejection::{Kind, Rejection};
use crate::vault::UserId;

impl Budget {
    /// Reads a user's body whole, if it arrives in time. It counts until what is held is dropped.
    ///
    /// # Errors
    /// Larger than the limit, too much held already, or not arrived whole.
    pub(in crate::layer) async fn read_in_time<B: Body>(
        &self,
        user: UserId,
        body: B,
    ) -> Result<(Bytes, Held), Rejection> {
        // Whoever sends a byte now and then would hold a connection and memory for ever.
        let patience = Duration::from_secs(30 + (self.0.limits.body >> 20) as u64);
        let mut reading = pin!(self.read(user, body));
        // Most are here already, and need no clock.
        let at_once = poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx)));
        if let Poll::Ready(read) = at_once.await {
            return read;
        }
        let read = Box::pin(timeout(patience, reading)).await;
        let (body, mut held) =
            read.unwrap_or_else(|_| Err(Rejection::new(Kind::BodyUnreadable)))?;
        held.waited = true;
        Ok((body, held))
    }

    /// Reads a body whole. Trailers are dropped: one could carry what no header may.
    ///
    /// # Errors
    /// Larger than the limit, too much held already, or not arrived whole.
    pub(super) async fn read<B: Body>(
        &self,
        user: UserId,
        body: B,
    ) -> Result<(Bytes, Held), Rejection> {
        let max = self.0.limits.body;
        let too_large = || Rejection::new(Kind::BodyTooLarge);
        if body.size_hint().lower() > max as u64 {
            return Err(too_large());
        }
        // Room is made for all the sender said there would be, once he sent a quarter of it: rooms that grow
        // little by little leave others behind, of all sizes; and who sends little is not to have much.
        let said = body.size_hint().exact();
        let said = said.and_then(|said| usize::try_from(said).ok());
        let mut held = self.hold(user);
        let mut body = pin!(body);
        let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Rejection::new(Kind::BodyUnreadable))?;
            let Ok(mut data) = frame.into_data() else {
                continue;
            };
            let len = data.remaining();
            if first.len() + rest.len() + len > max {
                return Err(too_large());
            }
            held.count(len)?;
            if first.is_empty() && rest.is_empty() {
                first = data.copy_to_bytes(len);
            } else {
                // Only a body in several pieces is copied.
                let had = first.len() + rest.len();
                if rest.capacity() < had + len {
                    let now = had + len;
                    let room = said.filter(|said| *said <= 4 * now).unwrap_or(2 * now);
                    rest.reserve(room.min(max).max(now) - rest.len());
                }
                if rest.is_empty() {
                    rest.extend_from_slice(&std::mem::take(&mut first));
                }
                rest.extend_from_slice(&data.copy_to_bytes(len));
            }
        }
        let whole = if rest.is_empty() {
            first
        } else {
            rest.freeze()
        };
        Ok((whole, held))
    }
}
