/** One number at a glance, with its name and what else there is to say. */
interface TileProps {
  name: string;
  value: string;
  more: string;
  tone?: "pass" | "warn" | "fail" | undefined;
}

export function Tile({ name, value, more, tone }: TileProps) {
  return (
    <div class="tile">
      <dt>{name}</dt>
      <dd class={`tile-value number ${tone === "fail" ? "fault" : tone === "warn" ? "warn-text" : ""}`}>{value}</dd>
      <dd class="muted small">{more}</dd>
    </div>
  );
}
