mod answers;
mod backends;
mod clients;
mod late;
mod requests;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Response;
use http::header::CONTENT_LENGTH;
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};

use super::serve::Answer;
use crate::layer::{BoxError, Head};

/// What is known of a message: its first line, its headers in order of their names, its body.
type Seen = (String, Vec<(String, Vec<u8>)>, Vec<u8>);

/// But for the length, which the body has.
fn fields(headers: &http::HeaderMap) -> Vec<(String, Vec<u8>)> {
    let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.as_str().to_owned(), value.as_bytes().to_vec())
    };
    let headers = headers.iter().filter(|(name, _)| *name != CONTENT_LENGTH);
    let mut fields: Vec<_> = headers.map(field).collect();
    fields.sort();
    fields
}

/// Answers every request whose body comes whole with nothing, and remembers it.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Seen>>>);

impl Recorder {
    fn seen(&self) -> Vec<Seen> {
        self.0.lock().unwrap().clone()
    }
}

impl Answer for Recorder {
    type Body = UnsyncBoxBody<Bytes, BoxError>;

    async fn answer<B: Body<Data: Send> + Send + 'static>(
        &self,
        head: Arc<Head>,
        body: B,
    ) -> Response<Self::Body> {
        if let Ok(body) = body.collect().await {
            let line = format!("{} {} {:?}", head.method, head.uri, head.version);
            let seen = (line, fields(&head.headers), body.to_bytes().to_vec());
            self.0.lock().unwrap().push(seen);
        }
        Response::new(whole(""))
    }
}

fn whole(text: &str) -> UnsyncBoxBody<Bytes, BoxError> {
    let body = Full::new(Bytes::copy_from_slice(text.as_bytes()));
    body.map_err(|never| match never {}).boxed_unsync()
}
