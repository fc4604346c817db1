/** Why a room is left for good, as the gateway's close codes say it, and what somebody can do then. */

/** Enter with a new ticket; begin with what the gateway has, without one's own last changes; go to the other rooms. */
export type WayOut = "again" | "anew" | "rooms";

export interface Ending {
  title: string;
  advice: string;
  way: WayOut;
}

const ENDINGS: Record<number, Ending> = {
  4400: {
    title: "The gateway did not understand this page",
    advice: "It may be of another version than the page. Load the page again.",
    way: "anew",
  },
  4401: {
    title: "The ticket for this room is not good any more",
    advice:
      "The invitation or the key that you came by may have been withdrawn, or the ticket was too old. Enter again to see; what you wrote is kept.",
    way: "again",
  },
  4403: {
    title: "This page may not enter the room",
    advice: "The gateway lets in pages of its own address, and of those that GATEWAY_CORS_ORIGINS names. Open the room there.",
    way: "rooms",
  },
  4404: {
    title: "There is no such room",
    advice: "Look at the address, or ask whoever sent it for a new link. Rooms that nobody touches for long are deleted.",
    way: "rooms",
  },
  4410: {
    title: "This room was deleted",
    advice: "Its owner deleted it for everybody. You can still copy what you see; it is gone when you leave the page.",
    way: "rooms",
  },
  4413: {
    title: "That was more than the room has space for",
    advice:
      "All files together may have 2 MiB with their history, and one change 1 MiB. Copy what you need; to go on, the room is loaded without your last changes.",
    way: "anew",
  },
};

/** The gateway's store of rooms has no space. It is worth coming again, as an operator can make some. */
export const STORE_FULL = 4507;

/** What becomes of a connection that was closed so; nothing if it is opened again by itself. */
export function endingOf(code: number): Ending | undefined {
  if (code < 4400 || code > 4499) return undefined;
  const other = { title: "The gateway closed the room for this page", advice: `It said ${code}, which this page does not know.`, way: "again" as const };
  return ENDINGS[code] ?? other;
}

export const WITHDRAWN: Ending = {
  title: "This invitation is not good any more",
  advice: "It has ended, or it was withdrawn. Ask whoever sent it for a new link.",
  way: "rooms",
};
