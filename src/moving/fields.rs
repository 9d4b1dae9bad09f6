//! The fields of a JSON object that somebody else wrote: no name twice, and errors that repeat no value.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::draft::Refusal;
use super::time;

/// An object with its names in order, twice ones too.
pub(super) struct Pairs<T>(pub(super) Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Each<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Each<T> {
            type Value = Pairs<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<T>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        from.deserialize_map(Each(std::marker::PhantomData))
    }
}

/// One object.
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let pairs: Pairs<Value> = serde_json::from_str(text)
            .map_err(|_| Refusal::new("it is not an object of JSON, or too deep"))?;
        let mut fields = Map::new();
        for (name, value) in pairs.0 {
            let twice = Refusal::new(format!(
                "`{}` stands there twice",
                super::draft::shown(&name)
            ));
            if fields.insert(name, value).is_some() {
                return Err(twice);
            }
        }
        Ok(Self(fields))
    }

    fn get(&self, name: &str) -> &Value {
        self.0.get(name).unwrap_or(&Value::Null)
    }

    /// A text, or nothing.
    pub(super) fn text(&self, name: &str) -> Result<&str, Refusal> {
        match self.get(name) {
            Value::Null => Ok(""),
            Value::String(text) => Ok(text),
            _ => Err(wrong(name, "a text")),
        }
    }

    pub(super) fn flag(&self, name: &str, otherwise: bool) -> Result<bool, Refusal> {
        match self.get(name) {
            Value::Null => Ok(otherwise),
            Value::Bool(flag) => Ok(*flag),
            _ => Err(wrong(name, "true or false")),
        }
    }

    pub(super) fn time(&self, name: &str) -> Result<Option<u64>, Refusal> {
        time::seconds(name, self.get(name))
    }

    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>, Refusal> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let all = match self.get(name) {
            Value::Null => Some(Vec::new()),
            Value::Array(list) => list.iter().map(text).collect(),
            _ => None,
        };
        all.ok_or_else(|| wrong(name, "a list of texts"))
    }

    pub(super) fn object(&self, name: &str) -> Result<Map<String, Value>, Refusal> {
        match self.get(name) {
            Value::Null => Ok(Map::new()),
            Value::Object(object) => Ok(object.clone()),
            _ => Err(wrong(name, "an object")),
        }
    }
}

fn wrong(name: &str, wanted: &str) -> Refusal {
    Refusal::new(format!("`{name}` is not {wanted}"))
}
