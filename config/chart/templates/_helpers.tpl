{{/* Labels of every object. */}}
{{- define "podside.labels" -}}
app.kubernetes.io/name: podside-operator
app.kubernetes.io/part-of: podside
{{- with .Values.operator.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "podside.image" -}}
{{ .Values.operator.image }}:{{ .Values.operator.imageTag | default .Chart.AppVersion }}
{{- end }}

{{/* "true" when the operator makes its own serving certificate. */}}
{{- define "podside.ownCertificate" -}}
{{- if not (or .Values.tls.useExistingSecret .Values.tls.certManager.enabled (index .Values.tls.data "tls.crt")) }}true{{ end }}
{{- end }}

{{/* Settings of plugins; the mode of impersonation has a value of its own. */}}
{{- define "podside.pluginSettings" -}}
{{ set (deepCopy .Values.plugins) "rbac-impersonation" (dict "mode" .Values.impersonation.mode) | toJson }}
{{- end }}

{{/* What agents are started with; what the chart says of them elsewhere is but a default. */}}
{{- define "podside.agentConfig" -}}
{{- $defaults := dict "image_pull_policy" .Values.operator.imagePullPolicy }}
{{- with .Values.operator.imagePullSecrets }}{{ $defaults = set $defaults "image_pull_secrets" . }}{{ end }}
{{- with .Values.agent.priorityClass }}{{ if .create }}{{ $defaults = set $defaults "priority_class" .name }}{{ end }}{{ end }}
{{- mergeOverwrite $defaults (deepCopy .Values.agent.extraConfig) | toJson }}
{{- end }}

{{/* What values.schema.json cannot say; readValues in config/manifests/values.ts has the same. */}}
{{- define "podside.consistent" -}}
{{- with .Values.tls }}
{{- if and .certManager.enabled .useExistingSecret }}
{{- fail "tls.useExistingSecret and tls.certManager.enabled exclude each other: both fill tls.secret" }}
{{- end }}
{{- $crt := index .data "tls.crt" }}
{{- if ne (empty $crt) (empty (index .data "tls.key")) }}
{{- fail "tls.data needs both, tls.crt and tls.key" }}
{{- end }}
{{- if and $crt (or .certManager.enabled .useExistingSecret) }}
{{- fail "tls.data excludes tls.useExistingSecret and tls.certManager.enabled: each fills tls.secret" }}
{{- end }}
{{- if and $.Values.agent.priorityClass.create (hasKey $.Values.agent.extraConfig "priority_class") }}
{{- fail "agent.priorityClass.create and agent.extraConfig.priority_class exclude each other" }}
{{- end }}
{{- if and .certManager.enabled .certManager.createIssuer (or (ne .certManager.issuerKind "Issuer") (ne .certManager.issuerGroup "cert-manager.io")) }}
{{- fail "tls.certManager.issuerKind and issuerGroup are for an issuer that exists: set createIssuer to false" }}
{{- end }}
{{- if and .apiService.insecureSkipTLSVerify .apiService.caBundle }}
{{- fail "tls.apiService.caBundle and insecureSkipTLSVerify exclude each other" }}
{{- end }}
{{- end }}
{{- end }}
