import type { Kube } from "../../kube/kube.ts"
import type { LabelSelector, Pod, Service, Workload } from "../../kube/objects.ts"
import { read } from "../../kube/pods.ts"
import { resources } from "../../kube/resources.ts"
import type { Target } from "../../target.ts"

/**
 * What tells a target's pods from others, for a watch to look at. Undefined where nothing can be followed: no target, or jobs
 * that make new jobs. Asked as the operator, after the caller was shown the target.
 */
export async function podMatcher(
  kube: Kube,
  target: Target,
  namespace: string,
): Promise<((pod: Pod) => boolean) | undefined> {
  switch (target.kind) {
    case "targetless":
    case "cronjob":
      return undefined
    case "pod":
      return ({ metadata }) => metadata.name === target.name
    case "label":
      return matches({ matchLabels: { ...target.labels } })
    case "service":
      return matches({
        matchLabels: (await read<Service>(kube, resources.service, namespace, target.name)).spec?.selector,
      })
    case "rollout": {
      const { spec } = await read<Workload>(kube, resources.rollout, namespace, target.name)
      const { name, kind } = spec?.workloadRef ?? {}
      if (spec?.selector || !name) return matches(spec?.selector)
      const resource = Object.values(resources).find((one) => one.kind === kind) ?? resources.deployment
      return matches((await read<Workload>(kube, resource, namespace, name)).spec?.selector)
    }
    default:
      return matches((await read<Workload>(kube, resources[target.kind], namespace, target.name)).spec?.selector)
  }
}

/** Kubernetes' label selectors; an empty one fits nothing here, where it would mean every pod of the namespace. */
export function matches(selector: LabelSelector = {}): (pod: Pod) => boolean {
  const equal = Object.entries(selector.matchLabels ?? {})
  const rules = selector.matchExpressions ?? []
  if (equal.length === 0 && rules.length === 0) return () => false
  return ({ metadata: { labels = {} } }) =>
    equal.every(([key, value]) => labels[key] === value) &&
    rules.every(({ key, operator, values = [] }) => {
      const value = labels[key]
      if (operator === "Exists") return value !== undefined
      if (operator === "DoesNotExist") return value === undefined
      const listed = value !== undefined && values.includes(value)
      return operator === "In" ? listed : !listed
    })
}
