{{/* Names and labels; everything else stands in the templates themselves. */}}

{{- define "antifraud.name" -}}
{{- .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 44 characters: the longest name made of it is a CronJob's, which may have 52. */}}
{{- define "antifraud.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 44 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 44 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* A Job cannot be changed: what would change it makes another one. */}}
{{- define "antifraud.bootstrapName" -}}
{{- $inputs := list .Chart.Version .Chart.AppVersion .Values.image.retrain .Values.image.pullPolicy .Values.image.pullSecrets .Values.idKey.key .Values.history.folder .Values.mlflow.simulate -}}
{{- include "antifraud.fullname" . }}-bootstrap-{{ $inputs | toJson | sha256sum | trunc 8 -}}
{{- end -}}

{{- define "antifraud.selector" -}}
app.kubernetes.io/name: {{ include "antifraud.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "antifraud.labels" -}}
{{ include "antifraud.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: antifraud
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "antifraud.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "antifraud.registryUri" -}}
{{- if .Values.mlflow.enabled -}}
http://{{ include "antifraud.fullname" . }}-mlflow:5000
{{- else -}}
{{ .Values.registry.uri }}
{{- end -}}
{{- end -}}

{{- define "antifraud.idKeySecret" -}}
{{- if .Values.mlflow.enabled -}}
{{ include "antifraud.fullname" . }}-id-key
{{- else -}}
{{ .Values.idKey.secret }}
{{- end -}}
{{- end -}}

{{- define "antifraud.historyClaim" -}}
{{- if .Values.mlflow.enabled -}}
{{ include "antifraud.fullname" . }}-history
{{- else -}}
{{ .Values.history.claim }}
{{- end -}}
{{- end -}}

{{/* Whether the history lies on the claim: not empty. */}}
{{- define "antifraud.historyOnClaim" -}}
{{- if or .Values.mlflow.enabled (not .Values.history.address) -}}claim{{- end -}}
{{- end -}}

{{/* Whether reports that landed lie on the claim: not empty. */}}
{{- define "antifraud.reportsOnClaim" -}}
{{- if and .Values.landing.enabled (hasPrefix "/history" .Values.landing.reports) (not .Values.history.reports) -}}claim{{- end -}}
{{- end -}}

{{- define "antifraud.historyFolder" -}}
{{- if include "antifraud.historyOnClaim" . -}}
/history{{ with .Values.history.folder }}/{{ . }}{{ end }}
{{- else -}}
{{ .Values.history.address }}
{{- end -}}
{{- end -}}

{{/* Payments a second that one pod answers when it uses exactly the CPU it requests. */}}
{{- define "antifraud.tpsPerPod" -}}
{{- mulf .Values.capacity.tpsPerCore (include "antifraud.cores" .Values.resources.cpu | float64) -}}
{{- end -}}

{{/* Pods at the planned peak: each at no more than headroom of what it can do, and one more that may be lost. */}}
{{- define "antifraud.peakPods" -}}
{{- $planned := mulf (include "antifraud.tpsPerPod" . | float64) .Values.capacity.headroom -}}
{{- add 1 (ceil (divf .Values.capacity.peakTps $planned) | int) -}}
{{- end -}}

{{/* Pods at rest: all of them together carry the peak while the autoscaler has not reacted yet; never fewer than two. */}}
{{- define "antifraud.restPods" -}}
{{- max 2 (ceil (divf .Values.capacity.peakTps (include "antifraud.tpsPerPod" . | float64)) | int) -}}
{{- end -}}

{{/* Memory as a number of MiB: 1Gi is 1024. */}}
{{- define "antifraud.mebibytes" -}}
{{- $units := dict "Mi" 1 "Gi" 1024 "Ti" 1048576 -}}
{{- mul (regexFind "^[0-9]+" .) (get $units (regexFind "[A-Z]i$" .)) -}}
{{- end -}}

{{/* CPU as a number of cores: 250m is 0.25. */}}
{{- define "antifraud.cores" -}}
{{- if hasSuffix "m" (toString .) -}}
{{- divf (trimSuffix "m" . | float64) 1000 -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}

{{/* The pod of a landing; given root, topic (decisions or reports), address and whether it ends (once). */}}
{{- define "antifraud.landingPod" -}}
{{- $root := .root -}}
{{- $onClaim := hasPrefix "/history" .address -}}
{{- if and $onClaim (not $root.Values.mlflow.enabled) (not $root.Values.history.folder) (not $root.Values.history.address) -}}
{{- fail "history.folder must name the folder of the payments where landing writes to the same claim, or its files would be read as payments" -}}
{{- end -}}
restartPolicy: {{ ternary "Never" "Always" .once }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: 30
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
containers:
  - name: landing
    image: {{ include "antifraud.image" (dict "root" $root "image" $root.Values.image.retrain) | quote }}
    imagePullPolicy: {{ $root.Values.image.pullPolicy }}
    args:
      - land
      - --topic={{ .topic }}
      - --to={{ .address }}
      {{- if .once }}
      - --once
      {{- end }}
    envFrom:
      - configMapRef: {name: {{ include "antifraud.fullname" $root }}-kafka}
      {{- range list $root.Values.kafka.secret $root.Values.landing.secret }}
      {{- with . }}
      - secretRef: {name: {{ . }}}
      {{- end }}
      {{- end }}
    {{- if not .once }}
    ports:
      - {name: metrics, containerPort: 8002}
    readinessProbe:
      httpGet: {path: /health, port: metrics}
      periodSeconds: {{ $root.Values.probes.periodSeconds }}
      timeoutSeconds: 2
    # Brokers or a store that are away end no pod; it waits, and says so.
    livenessProbe:
      tcpSocket: {port: metrics}
      initialDelaySeconds: 30
      periodSeconds: 20
      failureThreshold: 6
    {{- end }}
    resources:
      requests:
        cpu: {{ $root.Values.landing.resources.cpu }}
        memory: {{ $root.Values.landing.resources.memory }}
        ephemeral-storage: 64Mi
      limits:
        memory: {{ $root.Values.landing.resources.memory }}
        ephemeral-storage: 1Gi
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
    volumeMounts:
      {{- if $onClaim }}
      - {name: history, mountPath: /history}
      {{- end }}
      {{- if $root.Values.kafka.tlsSecret }}
      - {name: kafka, mountPath: /kafka, readOnly: true}
      {{- end }}
      - {name: cache, mountPath: /cache}
      - {name: tmp, mountPath: /tmp}
volumes:
  {{- if $onClaim }}
  - name: history
    persistentVolumeClaim: {claimName: {{ include "antifraud.historyClaim" $root }}}
  {{- end }}
  {{- with $root.Values.kafka.tlsSecret }}
  - name: kafka
    secret: {secretName: {{ . }}, defaultMode: 0440}
  {{- end }}
  - name: cache
    emptyDir: {sizeLimit: 64Mi}
  # What is written to a store waits here for its upload.
  - name: tmp
    emptyDir: {sizeLimit: 1Gi}
{{- end -}}
