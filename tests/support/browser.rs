//! A browser without JavaScript, as far as pages need one.

use reqwest::{Client, StatusCode, header};

/// A browser with one cookie, which follows no redirect by itself.
pub struct Browser {
    pub client: Client,
    pub url: String,
    pub cookie: Option<String>,
}

/// An answer, read to its end.
pub struct Answer {
    pub status: StatusCode,
    pub location: String,
    pub body: String,
    pub headers: header::HeaderMap,
}

impl Browser {
    pub fn new(url: &str) -> Self {
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Browser { client, url: url.to_owned(), cookie: None }
    }

    pub async fn of(url: &str, person: &str) -> Self {
        let mut browser = Browser::new(url);
        let entered = browser.post("/sign-in", &[("person", person)]).await;
        assert_eq!(entered.status, StatusCode::SEE_OTHER, "{}", entered.body);
        browser
    }

    pub async fn send(&mut self, request: reqwest::RequestBuilder) -> Answer {
        let request = match &self.cookie {
            Some(cookie) => request.header(header::COOKIE, cookie),
            None => request,
        };
        let response = request.header(header::ACCEPT, "text/html").send().await.unwrap();
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        if let Some(set) = text(header::SET_COOKIE) {
            self.cookie = set.split(';').next().map(str::to_owned);
        }
        let (status, location) = (response.status(), text(header::LOCATION).unwrap_or_default());
        let headers = response.headers().clone();
        Answer { status, location, headers, body: response.text().await.unwrap() }
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(self.client.get(format!("{}{path}", self.url))).await
    }

    /// A page that must be there.
    pub async fn page(&mut self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
        answer.body
    }

    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let origin = self.url.clone();
        self.post_from(path, fields, &origin).await
    }

    pub async fn post_from(&mut self, path: &str, fields: &[(&str, &str)], origin: &str) -> Answer {
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let request = self
            .client
            .post(format!("{}{path}", self.url))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ORIGIN, origin)
            .body(fields.join("&"));
        self.send(request).await
    }
}

pub fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// The value of a hidden field in the form that goes to `action`.
pub fn hidden<'a>(page: &'a str, action: &str, name: &str) -> &'a str {
    let form = page.split("<form").find(|form| form.contains(&format!("action=\"{action}"))).unwrap_or_else(|| {
        panic!("no form goes to {action}: {page}");
    });
    let field = form.split(&format!("name=\"{name}\" value=\"")).nth(1).unwrap_or_else(|| panic!("no {name}: {form}"));
    field.split('"').next().unwrap()
}

/// The words of a page, without its tags.
pub fn words(page: &str) -> String {
    let texts = page.split('<').filter_map(|part| part.split_once('>').map(|(_, text)| text));
    texts.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

pub fn says(page: &str, text: &str) {
    let words = words(page);
    assert!(words.contains(text), "the page does not say {text:?}: {words}");
}
