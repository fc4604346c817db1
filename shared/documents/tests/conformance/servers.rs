//! Servers that share a store: told of as they announced themselves, in time, until they leave.

use std::time::Duration;

use documents::ServerPlace;

use crate::Store;

const AGE: Duration = Duration::from_mins(1);

/// Stores that one server uses alone tell of none.
pub(crate) async fn a_server_is_told_of_until_it_leaves(store: &Store, is_shared: bool) {
    let found = async |name: &str, age| store.server(name.to_owned(), age).await.unwrap();
    let place = |url: &str| ServerPlace { url: url.to_owned(), token: format!("token of {url}") };
    let announce = async |name: &str, url: &str| {
        store.announce(name.to_owned(), place(url)).await.unwrap();
    };
    let expected = |url: &str| is_shared.then(|| place(url));
    announce("here", "http://a").await;
    announce("there", "https://b").await;
    assert_eq!(found("here", AGE).await, expected("http://a"));
    assert_eq!(found("there", AGE).await, expected("https://b"));
    announce("here", "http://c").await;
    assert_eq!(found("here", AGE).await, expected("http://c"), "it has moved");
    assert_eq!(found("here", Duration::ZERO).await, None, "that is too long ago");
    assert_eq!(found("nowhere", AGE).await, None);
    for _ in 0..2 {
        store.leave("here".to_owned()).await.unwrap();
    }
    assert_eq!(found("here", AGE).await, None);
    assert_eq!(found("there", AGE).await, expected("https://b"));
    store.leave("there".to_owned()).await.unwrap();
}
