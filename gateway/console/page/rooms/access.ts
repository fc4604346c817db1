/**
 * Requests about one room. Whoever came by an invitation sends that; it is kept in this tab, and taken out of the
 * address before anybody can read it there.
 */
import { Problem, send } from "../lib/api";
import type { Role } from "./people";

export interface RoomInfo {
  id: string;
  title: string | null;
  visibility: "private" | "public";
  role: Role;
}

export interface Ticket {
  ticket: string;
  role: Role;
}

export interface Invitation {
  id: string;
  role: Role;
  createdAt: string;
  expiresAt: string;
}

const SECRET = /^#?invite=(inv_[0-9a-f]{64})$/;
const nameOf = (room: string): string => `flotilla.invitation.${room}`;
/** Where nothing may be stored, an invitation lives as long as the page. */
const held = new Map<string, string>();

/** Takes an invitation out of the address. */
export function takeInvitation(room: string): void {
  const secret = SECRET.exec(location.hash)?.[1];
  if (!location.hash.startsWith("#invite=")) return;
  history.replaceState(null, "", location.pathname + location.search);
  if (!secret) return;
  held.set(room, secret);
  try {
    sessionStorage.setItem(nameOf(room), secret);
  } catch {
    // It is held above.
  }
}

export function invitationOf(room: string): string | undefined {
  try {
    return held.get(room) ?? sessionStorage.getItem(nameOf(room)) ?? undefined;
  } catch {
    return undefined;
  }
}

export function dropInvitation(room: string): void {
  held.delete(room);
  try {
    sessionStorage.removeItem(nameOf(room));
  } catch {
    // It was never stored.
  }
}

export const invitationLink = (room: string, secret: string): string => `${location.origin}/rooms/${room}#invite=${secret}`;

/** What stands for a key in requests about a room. */
export function headersFor(room: string): Record<string, string> {
  const invitation = invitationOf(room);
  return invitation ? { "room-invitation": invitation } : {};
}

export const isWithdrawn = (error: unknown): boolean => error instanceof Problem && error.code === "invitation_wrong";

async function ask(room: string, path: string, init: RequestInit = {}): Promise<Response> {
  const json: Record<string, string> = init.body ? { "content-type": "application/json" } : {};
  return send(`/v1/rooms/${encodeURIComponent(room)}${path}`, { ...init, headers: { ...headersFor(room), ...json } });
}

async function told<T>(response: Promise<Response>): Promise<T> {
  return (await (await response).json()) as T;
}

const post = (body: unknown): RequestInit => ({ method: "POST", body: JSON.stringify(body) });

export const roomInfo = (room: string, signal?: AbortSignal) => told<RoomInfo>(ask(room, "", { signal: signal ?? null }));

export const ticketFor = (room: string, role: Role, name: string, signal: AbortSignal) =>
  told<Ticket>(ask(room, "/tickets", { ...post({ role, name }), signal }));

export const deleteRoom = (room: string) => ask(room, "", { method: "DELETE" });

export const invite = (room: string, role: Role, hours: number) =>
  told<Invitation & { invitation: string }>(ask(room, "/invitations", post({ role, hours })));

export const invitations = (room: string, signal?: AbortSignal) =>
  told<{ invitations: Invitation[] }>(ask(room, "/invitations", { signal: signal ?? null }));

export const withdraw = (room: string, id: string) => ask(room, `/invitations/${id}`, { method: "DELETE" });
