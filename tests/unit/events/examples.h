// SPDX-License-Identifier: Apache-2.0
// The example payloads of the two documents that the events are built from, with their comments taken out and
// their ellipses ended.
#ifndef DEEPLENS_TESTS_EVENTS_EXAMPLES_H
#define DEEPLENS_TESTS_EVENTS_EXAMPLES_H

#include <stdbool.h>

#include "events/event.h"

struct example {
    enum event_topic topic;
    bool flat;
    const char *json;
};

static const struct example examples[] = {
    {TOPIC_IMAGES_UPLOADED, false, "{\n\
  \"eventId\": \"evt_12345678-1234-1234-1234-123456789abc\",\n\
  \"eventType\": \"image.uploaded\",\n\
  \"eventVersion\": \"1.0\",\n\
  \"timestamp\": \"2025-11-28T10:30:00Z\",\n\
  \"tenantId\": \"acme-corp\",\n\
  \"data\": {\n\
    \"imageId\": \"img_98765432-4321-4321-4321-210987654321\",\n\
    \"fileName\": \"product-image-001.jpg\",\n\
    \"filePath\": \"/storage/tenant-acme-corp/images/2025/11/28/img_98765432.jpg\",\n\
    \"fileSize\": 2048576,\n\
    \"contentType\": \"image/jpeg\",\n\
    \"uploadedBy\": \"user_john_doe\",\n\
    \"metadata\": {\n\
      \"width\": 1920,\n\
      \"height\": 1080,\n\
      \"format\": \"JPEG\",\n\
      \"colorProfile\": \"sRGB\",\n\
      \"originalFileName\": \"product-shot.jpg\"\n\
    },\n\
    \"storageProvider\": {\n\
      \"type\": \"azure_blob\",\n\
      \"containerName\": \"acme-corp-images\",\n\
      \"blobName\": \"2025/11/28/img_98765432.jpg\"\n\
    }\n\
  },\n\
  \"processingOptions\": {\n\
    \"models\": [\"resnet50\"],\n\
    \"priority\": \"normal\",\n\
    \"skipDuplicateCheck\": false,\n\
    \"generateThumbnail\": true\n\
  }\n\
}"},
    {TOPIC_FEATURES_EXTRACTION, false, "{\n\
  \"eventId\": \"evt_87654321-4321-4321-4321-123456789def\",\n\
  \"eventType\": \"feature.extraction.requested\",\n\
  \"eventVersion\": \"1.0\", \n\
  \"timestamp\": \"2025-11-28T10:30:01Z\",\n\
  \"tenantId\": \"acme-corp\",\n\
  \"correlationId\": \"evt_12345678-1234-1234-1234-123456789abc\",\n\
  \"data\": {\n\
    \"imageId\": \"img_98765432-4321-4321-4321-210987654321\",\n\
    \"imagePath\": \"/storage/tenant-acme-corp/images/2025/11/28/img_98765432.jpg\",\n\
    \"modelName\": \"resnet50\",\n\
    \"modelVersion\": \"v2.7\",\n\
    \"expectedDimension\": 2048,\n\
    \"extractionOptions\": {\n\
      \"normalize\": true,\n\
      \"returnMetadata\": true,\n\
      \"timeout\": 30\n\
    }\n\
  },\n\
  \"retryPolicy\": {\n\
    \"maxAttempts\": 3,\n\
    \"backoffMs\": 1000,\n\
    \"currentAttempt\": 1\n\
  }\n\
}"},
    {TOPIC_VECTORS_INDEXING, false, "{\n\
  \"eventId\": \"evt_11111111-2222-3333-4444-555555555555\",\n\
  \"eventType\": \"vector.indexing.requested\", \n\
  \"eventVersion\": \"1.0\",\n\
  \"timestamp\": \"2025-11-28T10:30:04Z\",\n\
  \"tenantId\": \"acme-corp\",\n\
  \"correlationId\": \"evt_12345678-1234-1234-1234-123456789abc\",\n\
  \"data\": {\n\
    \"imageId\": \"img_98765432-4321-4321-4321-210987654321\",\n\
    \"modelName\": \"resnet50\",\n\
    \"featureVector\": [0.123, -0.456, 0.789],\n\
    \"vectorMetadata\": {\n\
      \"extractionTime\": \"2025-11-28T10:30:03Z\",\n\
      \"processingTimeMs\": 2150,\n\
      \"modelVersion\": \"v2.7\",\n\
      \"confidence\": 0.98\n\
    },\n\
    \"imageMetadata\": {\n\
      \"width\": 1920,\n\
      \"height\": 1080,\n\
      \"format\": \"JPEG\",\n\
      \"fileSize\": 2048576\n\
    }\n\
  }\n\
}"},
    {TOPIC_PROCESSING_COMPLETED, false, "{\n\
  \"eventId\": \"evt_99999999-8888-7777-6666-555555555555\",\n\
  \"eventType\": \"processing.completed\",\n\
  \"eventVersion\": \"1.0\",\n\
  \"timestamp\": \"2025-11-28T10:30:05Z\", \n\
  \"tenantId\": \"acme-corp\",\n\
  \"correlationId\": \"evt_12345678-1234-1234-1234-123456789abc\",\n\
  \"data\": {\n\
    \"imageId\": \"img_98765432-4321-4321-4321-210987654321\",\n\
    \"status\": \"success\",\n\
    \"processingSteps\": [\n\
      {\n\
        \"step\": \"feature_extraction\",\n\
        \"status\": \"completed\",\n\
        \"duration\": 2150,\n\
        \"modelName\": \"resnet50\"\n\
      },\n\
      {\n\
        \"step\": \"vector_indexing\", \n\
        \"status\": \"completed\",\n\
        \"duration\": 450,\n\
        \"collectionName\": \"tenant_acmecorp_resnet50_vectors\"\n\
      }\n\
    ],\n\
    \"totalProcessingTime\": 2600,\n\
    \"searchableAfter\": \"2025-11-28T10:30:05Z\"\n\
  }\n\
}"},
    {TOPIC_IMAGES_UPLOADED, true, "{\n\
  \"imageId\": \"img_123456\",\n\
  \"tenantId\": \"tenant_abc\",\n\
  \"fileName\": \"photo.jpg\",\n\
  \"storagePath\": \"minio://tenant-abc/images/photo.jpg\",\n\
  \"mimeType\": \"image/jpeg\",\n\
  \"sizeBytes\": 2048576,\n\
  \"uploadedAt\": \"2026-01-14T10:30:00Z\",\n\
  \"metadata\": {\n\
    \"width\": 1920,\n\
    \"height\": 1080,\n\
    \"format\": \"JPEG\"\n\
  }\n\
}"},
    {TOPIC_VIDEOS_UPLOADED, true, "{\n\
  \"videoId\": \"vid_789012\",\n\
  \"tenantId\": \"tenant_abc\",\n\
  \"fileName\": \"video.mp4\",\n\
  \"storagePath\": \"minio://tenant-abc/videos/video.mp4\",\n\
  \"mimeType\": \"video/mp4\",\n\
  \"sizeBytes\": 52428800,\n\
  \"duration\": 120.5,\n\
  \"uploadedAt\": \"2026-01-14T10:35:00Z\",\n\
  \"metadata\": {\n\
    \"width\": 1920,\n\
    \"height\": 1080,\n\
    \"fps\": 30,\n\
    \"codec\": \"h264\"\n\
  }\n\
}"},
    {TOPIC_FEATURES_EXTRACTION, true, "{\n\
  \"imageId\": \"img_123456\",\n\
  \"tenantId\": \"tenant_abc\",\n\
  \"preprocessedPath\": \"minio://tenant-abc/processed/img_123456.jpg\",\n\
  \"extractionParams\": {\n\
    \"model\": \"clip-vit-base\",\n\
    \"dimensions\": 512,\n\
    \"normalize\": true\n\
  },\n\
  \"requestedAt\": \"2026-01-14T10:30:05Z\"\n\
}"},
    {TOPIC_VECTORS_INDEXING, true, "{\n\
  \"imageId\": \"img_123456\",\n\
  \"tenantId\": \"tenant_abc\",\n\
  \"vectors\": [0.123, -0.456, 0.789],\n\
  \"dimensions\": 3,\n\
  \"metadata\": {\n\
    \"fileName\": \"photo.jpg\",\n\
    \"uploadedAt\": \"2026-01-14T10:30:00Z\",\n\
    \"tags\": [\"landscape\", \"nature\"]\n\
  },\n\
  \"extractedAt\": \"2026-01-14T10:30:10Z\"\n\
}"},
    {TOPIC_PROCESSING_COMPLETED, true, "{\n\
  \"imageId\": \"img_123456\",\n\
  \"tenantId\": \"tenant_abc\",\n\
  \"status\": \"completed\",\n\
  \"processingTime\": 15.2,\n\
  \"metrics\": {\n\
    \"preprocessingTime\": 2.1,\n\
    \"extractionTime\": 10.5,\n\
    \"indexingTime\": 2.6\n\
  },\n\
  \"completedAt\": \"2026-01-14T10:30:15Z\"\n\
}"},
    {TOPIC_PROCESSING_FAILED, true, "{\n\
  \"imageId\": \"img_123456\",\n\
  \"tenantId\": \"tenant_abc\",\n\
  \"status\": \"failed\",\n\
  \"error\": {\n\
    \"code\": \"EXTRACTION_TIMEOUT\",\n\
    \"message\": \"Feature extraction timed out after 60 seconds\",\n\
    \"stackTrace\": \"...\",\n\
    \"retryable\": true\n\
  },\n\
  \"failedAt\": \"2026-01-14T10:31:00Z\",\n\
  \"attemptNumber\": 2\n\
}"},
    {TOPIC_IMAGES_MAINTENANCE, true, "{\n\
  \"maintenanceType\": \"delete\",\n\
  \"imageId\": \"img_123456\",\n\
  \"tenantId\": \"tenant_abc\",\n\
  \"actions\": [\n\
    \"delete_minio_files\",\n\
    \"delete_qdrant_vectors\",\n\
    \"cleanup_database\"\n\
  ],\n\
  \"requestedAt\": \"2026-01-14T11:00:00Z\"\n\
}"},
    {TOPIC_MESSAGES, true, "{\n\
  \"messageId\": \"msg_abc123\",\n\
  \"chatJid\": \"1234567890@s.whatsapp.net\",\n\
  \"fromMe\": false,\n\
  \"messageType\": \"text\",\n\
  \"content\": \"Hello, world!\",\n\
  \"timestamp\": 1705234567,\n\
  \"metadata\": {\n\
    \"isGroup\": false,\n\
    \"senderName\": \"John Doe\"\n\
  }\n\
}"},
};

#endif
