// How the page asks the server.

const root = new URL("api/v1/ttp/", document.baseURI);

let login; // the one under way, shared by all who wait for it

function headers() {
  const token = sessionStorage.getItem("token");
  return token ? { Authorization: `Bearer ${token}` } : {};
}

// askToken shows the form until a token is given.
function askToken() {
  login ??= new Promise((resolve) => {
    const dialog = document.getElementById("login");
    const input = document.getElementById("token");
    input.value = "";
    dialog.addEventListener("close", () => {
      sessionStorage.setItem("token", input.value);
      login = undefined;
      resolve();
    }, { once: true });
    if (!dialog.open) dialog.showModal();
  });
  return login;
}

// request sends a GET and returns the response if it is a good one; otherwise
// it throws an error that can be shown.
export async function request(path, values = {}, signal = undefined) {
  const url = new URL(path, root);
  for (const [name, value] of Object.entries(values)) {
    if (value !== "" && value !== undefined) url.searchParams.set(name, value);
  }
  for (;;) {
    const response = await fetch(url, { headers: headers(), signal, cache: "no-cache" });
    if (response.ok) return response;
    if (response.status === 401) {
      await askToken();
      continue;
    }
    let problem = { detail: response.statusText };
    try {
      problem = await response.json();
    } catch {
      // not a problem of ours: what HTTP says must do
    }
    const parts = [problem.detail, ...(problem.errors ?? []).map((e) => `${e.parameter}: ${e.detail}`)];
    throw new Error(parts.join("; "));
  }
}

export async function ask(path, values, signal) {
  return (await request(path, values, signal)).json();
}

// askPage returns a page of a list and what names the next, "" on the last.
export async function askPage(path, values, signal) {
  const response = await request(path, values, signal);
  const next = /[?&]after=([^&>]+)[^>]*>; rel="next"/.exec(response.headers.get("Link") ?? "");
  return { list: await response.json(), next: next ? decodeURIComponent(next[1]) : "" };
}

// listen calls heard with the data of each server-sent event, and state with
// whether there is a connection, for as long as the page is open.
export async function listen(heard, state) {
  for (let wait = 1000; ; wait = Math.min(wait * 2, 30000)) {
    try {
      const response = await request("events");
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      state(true);
      wait = 500;
      let text = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        const blocks = (text + value).split("\n\n");
        text = blocks.pop();
        for (const block of blocks) {
          const data = /^data: (.*)$/m.exec(block);
          if (data) heard(JSON.parse(data[1]));
        }
      }
    } catch (error) {
      if (error instanceof SyntaxError) console.error(error);
    }
    state(false);
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}
