/**
 * A live page over plain HTTP, where no socket can be had: it is to `live.js` what a WebSocket is, as far as that uses
 * one. Each exchange is a request that says how far the page is and what the visitor did, and is answered with frames
 * as soon as there are any (`exchanging.py` has what is in it). Loaded only where it is needed.
 *
 * Its rules:
 * - There is one exchange that counts. When the visitor does something, another takes the place of one that waits for
 *   news; what the older one may still answer is not looked at, as it is told again.
 * - An event is kept until it is answered, and sent again, but not while a process says that it is at it.
 */

const TAKEN = 15_000; // ms for which an event is not sent again that a process is at
const PATIENCE = 20_000; // ms for an answer: the server has five seconds
const STEP = 50; // ms between two exchanges that bring no event
const MOST = 100; // events in an exchange,
const ROOM = 60_000; // and characters: what is sent while the page is left has no more
const JSON_TYPE = { "Content-Type": "application/json" };

export class Exchange {
  readyState = WebSocket.CONNECTING;
  onopen = () => {};
  onmessage = (_event) => {};
  onclose = () => {};
  #address;
  #hello; // gives the frame that says how far the page is
  #events = []; // that were not answered yet
  #taken = 0; // the last event that a process is at, and since when
  #takenAt = 0;
  #page = "";
  #pinged = false;
  #going = null; // the exchange that counts
  #isBusy = false; // it has events
  #begun = -STEP;
  #next = 0;

  constructor(address, hello) {
    [this.#address, this.#hello] = [address, hello];
    this.#soon();
  }

  /** A frame to the server. Its hello is said with each exchange, and is not waited for. */
  send(text) {
    const frame = JSON.parse(text);
    if (frame.t === "event") {
      this.#events.push({ n: frame.n, text });
      if (!this.#isBusy) this.#soon(0);
    } else if (frame.t === "ping") {
      this.#pinged = true;
      if (!this.#going) this.#soon();
    }
  }

  /** With a code, as when the page is left, a last exchange says so, with what was not answered. */
  close(code) {
    if (code && this.readyState === WebSocket.OPEN) {
      const body = this.#body({ wait: false, leave: true });
      const last = fetch(this.#address, { method: "POST", headers: JSON_TYPE, keepalive: true, body });
      last.catch((error) => console.debug("The last exchange was not made.", error));
    }
    this.#end();
  }

  #end() {
    this.readyState = WebSocket.CLOSED;
    clearTimeout(this.#next);
    this.#going?.abort();
    this.#going = null;
  }

  #soon(wait = this.#begun + STEP - performance.now()) {
    clearTimeout(this.#next);
    this.#next = setTimeout(() => this.#exchange(), Math.max(0, wait));
  }

  async #exchange() {
    if (this.readyState === WebSocket.CLOSED) return;
    const [before, mine] = [this.#going, new AbortController()];
    const isMine = () => mine === this.#going;
    this.#going = mine;
    this.#begun = performance.now();
    const timer = setTimeout(() => mine.abort(), PATIENCE);
    try {
      const body = this.#body({ wait: this.readyState === WebSocket.OPEN });
      const options = { method: "POST", headers: JSON_TYPE, signal: mine.signal };
      const response = await fetch(this.#address, { ...options, body });
      const answer = await response.json();
      if (isMine() && Array.isArray(answer.frames)) this.#take(answer);
      else if (isMine()) throw new TypeError("no answer of ours");
    } catch (error) {
      if (!isMine()) return; // another has taken its place
      console.debug("An exchange failed.", error);
      this.#end();
      this.onclose();
    } finally {
      clearTimeout(timer);
      before?.abort();
    }
  }

  #body(more) {
    const hello = this.#hello();
    this.#events = this.#events.filter((event) => event.n >= hello.n);
    const isAtIt = this.#taken >= hello.n && performance.now() - this.#takenAt < TAKEN;
    const events = [];
    let room = ROOM;
    for (const { text } of isAtIt ? [] : this.#events) {
      room -= text.length;
      if (events.length >= MOST || (room < 0 && events.length)) break;
      events.push(text);
    }
    this.#isBusy = events.length > 0;
    const rest = JSON.stringify({ hello, page: this.#page, ...more });
    return `${rest.slice(0, -1)},"events":[${events}]}`;
  }

  #take({ frames, page, taken, pause, close }) {
    this.#going = null;
    this.#isBusy = false;
    this.#page = page ?? "";
    if (taken) [this.#taken, this.#takenAt] = [taken, performance.now()];
    if (this.readyState === WebSocket.CONNECTING && !close) {
      this.readyState = WebSocket.OPEN;
      this.onopen();
    }
    if (close) this.readyState = WebSocket.CLOSING;
    if (this.#pinged) frames.push({ t: "pong" });
    this.#pinged = false;
    for (const frame of frames) this.onmessage({ data: JSON.stringify(frame) });
    if (this.readyState === WebSocket.CLOSED) return; // one of them was the last
    if (close) {
      this.#end();
      this.onclose();
      return;
    }
    const { n } = this.#hello();
    const isNews = this.#taken < n && this.#events.some((event) => event.n >= n);
    if (pause && !isNews) this.#soon(pause * 1000);
    else this.#soon();
  }
}
