/** Asks for an API key where the gateway wants one. It is kept for this tab alone. */
import { useRef, useState } from "preact/hooks";

import { key, isKeyWanted, forgetKey, keepKey } from "../lib/key";

export function KeyForm() {
  const input = useRef<HTMLInputElement>(null);
  const [wrong, setWrong] = useState("");
  if (!isKeyWanted.value) return null;
  const submit = (event: Event) => {
    event.preventDefault();
    const value = input.current?.value.trim() ?? "";
    if (!/^[\x21-\x7e]{16,}$/.test(value)) {
      setWrong("A key has 16 or more letters, digits and signs, and no spaces.");
      input.current?.focus();
      return;
    }
    setWrong("");
    keepKey(value);
  };
  return (
    <form class="key-form card" onSubmit={submit}>
      <h2>{key.value ? "That API key is not known here" : "This gateway asks for an API key"}</h2>
      <p class="muted">
        It is sent to this gateway only and kept in this tab until you close it. Whoever runs the gateway sets keys with{" "}
        <code>GATEWAY_KEYS</code>.
      </p>
      <label for="api-key">API key</label>
      <div class="row">
        <input
          id="api-key"
          ref={input}
          type="password"
          autocomplete="off"
          spellcheck={false}
          aria-describedby="api-key-wrong"
          aria-invalid={wrong !== ""}
        />
        <button type="submit" class="button primary">
          Use it
        </button>
      </div>
      <p id="api-key-wrong" class="fault" role="alert">
        {wrong}
      </p>
    </form>
  );
}

export function ForgetKey() {
  if (!key.value) return null;
  return (
    <button type="button" class="button quiet small" onClick={forgetKey}>
      Forget key
    </button>
  );
}
