// A chart in the colours of the page. uPlot draws; what it shows also stands in the tables.

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { shown, when } from "./data";
import { dark } from "./state";

export const style = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

type Props = { label: string; options: () => Omit<uPlot.Options, "width" | "height">; data: uPlot.AlignedData; height?: number; onPlot?: (plot: uPlot) => void };

export function Chart({ label, options, data, height = 260, onPlot }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const isDark = dark.value;
  useEffect(() => {
    const place = box.current!;
    const plot = new uPlot({ ...options(), width: Math.max(place.clientWidth, 200), height }, data, place);
    onPlot?.(plot);
    const observer = new ResizeObserver(() => plot.setSize({ width: Math.max(place.clientWidth, 200), height }));
    observer.observe(place);
    return () => {
      observer.disconnect();
      plot.destroy();
    };
  }, [options, data, height, isDark]);
  return <div class="chart" ref={box} role="img" aria-label={label} />;
}

export function axis(extra: uPlot.Axis = {}): uPlot.Axis {
  return {
    stroke: style("--dim"), font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif",
    grid: { stroke: style("--grid"), width: 1 }, ticks: { stroke: style("--grid"), width: 1, size: 4 },
    ...extra,
  };
}

/** The axis of values: wide enough for its labels. */
export function valueAxis(extra: uPlot.Axis = {}): uPlot.Axis {
  return axis({
    values: (_, splits) => splits.map((value) => (value === null ? "" : compact(value))),
    size: (_, values) => Math.max(44, ...(values ?? []).map((text) => (text?.length ?? 0) * 7 + 16)),
    ...extra,
  });
}

export function compact(value: number): string {
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e6 || size < 1e-4)) return value.toExponential(1).replace("e+", "e");
  return shown(+value.toPrecision(4));
}

export const timeLabel = (seconds: number) => when(seconds * 1000);
