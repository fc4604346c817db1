/** What every place has around it: the way to the others, the theme, and what is said aloud. */
import type { ComponentType } from "preact";
import { Component } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { routes } from "../routes";
import { Announcer } from "./announce";
import { ForgetKey, KeyForm } from "./key";
import { Keys } from "./keys";
import { Link } from "./link";
import { match, place, type PlaceProps, type Route } from "./router";
import { ThemeButton } from "./theme";

export function Shell() {
  return (
    <>
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <header class="top">
        <Link href="/" class="brand">
          <svg viewBox="0 0 32 32" width="24" height="24" aria-hidden="true">
            <path d="M15 5v14H6z" fill="currentColor" />
            <path d="M17.500 9.500l8 9.500h-8z" fill="currentColor" opacity=".65" />
            <path d="M5 21.500h22l-3.500 5.500h-15z" fill="currentColor" />
          </svg>
          <span class="brand-name">Flotilla</span>
        </Link>
        <nav aria-label="Main">
          <ul>
            {routes
              .filter((it) => !it.hidden)
              .map((it) => (
                <li key={it.path}>
                  <Link href={it.path} current={isWithin(it.path, place.value.path)}>
                    {it.name}
                  </Link>
                </li>
              ))}
            <li>
              <a href="/docs">API</a>
            </li>
          </ul>
        </nav>
        <div class="top-end">
          <ForgetKey />
          <Keys />
          <ThemeButton />
        </div>
      </header>
      <Announcer />
      <main id="main" tabIndex={-1}>
        <KeyForm />
        <Current />
      </main>
    </>
  );
}

const isWithin = (path: string, here: string) => (path === "/" ? here === "/" : here === path || here.startsWith(`${path}/`));

function Current() {
  const path = place.value.path;
  for (const route of routes) {
    const params = match(route.path, path);
    if (params) return <Loaded key={route.path} route={route} params={params} />;
  }
  return <NotFound path={path} />;
}

function Loaded({ route, params }: { route: Route; params: Record<string, string> }) {
  const [Found, setFound] = useState<{ is: ComponentType<PlaceProps> }>();
  const [failed, setFailed] = useState(false);
  useEffect(() => {
    let isCurrent = true;
    document.title = `${route.name} · Flotilla`;
    route.load().then(
      (it) => isCurrent && setFound({ is: it.default }),
      () => isCurrent && setFailed(true),
    );
    return () => {
      isCurrent = false;
    };
  }, [route]);
  useFocusOnArrival();
  if (failed) {
    return (
      <Trouble title="This part of the page could not be loaded">
        The gateway may have been replaced by another version since you opened the page.
      </Trouble>
    );
  }
  if (!Found) return <div class="loading" aria-hidden="true" />;
  return (
    <Boundary>
      <Found.is params={params} />
    </Boundary>
  );
}

/** Who comes from another place hears where they are; the first load leaves the focus alone. */
let hasArrived = false;
function useFocusOnArrival() {
  const first = useRef(true);
  useEffect(() => {
    if (first.current && hasArrived) document.getElementById("main")?.focus({ preventScroll: true });
    first.current = false;
    hasArrived = true;
  }, []);
}

function NotFound({ path }: { path: string }) {
  useEffect(() => {
    document.title = "Not found · Flotilla";
  }, []);
  return (
    <div class="empty">
      <h1>Nothing is here</h1>
      <p>
        There is no <code>{path}</code>. <Link href="/">Look at the fleet</Link>, or <Link href="/play">run a program</Link>
        .
      </p>
    </div>
  );
}

function Trouble({ title, children }: { title: string; children: string }) {
  return (
    <div class="empty" role="alert">
      <h1>{title}</h1>
      <p>{children}</p>
      <button type="button" class="button primary" onClick={() => location.reload()}>
        Load it again
      </button>
    </div>
  );
}

/** A fault of the page itself shows here, and not as an empty page. */
class Boundary extends Component<{ children: preact.ComponentChildren }, { failed: boolean }> {
  override state = { failed: false };

  static override getDerivedStateFromError() {
    return { failed: true };
  }

  override render() {
    if (!this.state.failed) return this.props.children;
    return <Trouble title="Something went wrong in the page">What you wrote is kept in this browser.</Trouble>;
  }
}
